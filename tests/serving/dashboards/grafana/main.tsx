// Draws a dashboard with the components of Grafana itself, and data from the Prometheus that serves the page.
//
// Panels of which Grafana publishes no component (state timelines, heatmaps) are drawn by a stand-in, which says so; colours,
// words and units are those that Grafana gives to the values in them as well.
import { useEffect, useState, type CSSProperties } from "react";
import { createRoot } from "react-dom/client";
import { firstValueFrom } from "rxjs";
import {
  FieldType, ThemeContext, VizOrientation, applyFieldOverrides, cacheFieldDisplayNames, createFieldConfigRegistry, createTheme, dateTime, getFieldDisplayName,
  getFieldDisplayValues, standardEditorsRegistry, standardFieldConfigEditorRegistry, standardTransformers, standardTransformersRegistry,
  toDataFrame, transformDataFrame, type DataFrame, type Field,
} from "@grafana/data";
import { BigValue, BigValueTextMode, GlobalStyles, PanelChrome, PortalContainer, TimeSeries, VizRepeater } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";

/** What is to be drawn; draw.js says it. Times are seconds. */
type Scene = { dashboard: any; mode: "light" | "dark"; variables: Record<string, string>; start: number; end: number; step: number };
const scene: Scene = (window as any).scene;
const { dashboard, start, end, step } = scene;
const theme = createTheme({ colors: { mode: scene.mode } });
const timeRange = { from: dateTime(start * 1000), to: dateTime(end * 1000), raw: { from: dateTime(start * 1000), to: dateTime(end * 1000) } };
const unchanged = (text: string) => text;
const COLUMN = 57, ROW = 38, GAP = 8;

function interpolate(promql: string): string {
  const values: Record<string, string> = { __rate_interval: "60s", __range: `${Math.round(end - start)}s`, ...scene.variables };
  return promql.replace(/\$(\w+)/g, (_, name) => values[name] ?? name);
}

async function ask(promql: string, instant: boolean): Promise<any[]> {
  const query = new URLSearchParams({ query: interpolate(promql), ...(instant ? { time: `${end}` } : { start: `${start}`, end: `${end}`, step: `${step}` }) });
  const answer = await (await fetch(`/api/v1/query${instant ? "" : "_range"}`, { method: "POST", body: query })).json();
  if (answer.status !== "success") throw new Error(`${promql}: ${answer.error}`);
  return answer.data.result;
}

/** As the data source for Prometheus makes them. */
function framesOf(target: any, several: boolean, series: any[]): DataFrame[] {
  if (target.format === "table") {
    const labels = [...new Set(series.flatMap(one => Object.keys(one.metric)))].sort();
    const fields = [
      { name: "Time", type: FieldType.time, values: series.map(() => end * 1000) },
      ...labels.map(label => ({ name: label, type: FieldType.string, values: series.map(one => one.metric[label] ?? "") })),
      { name: several ? `Value #${target.refId}` : "Value", type: FieldType.number, values: series.map(one => Number(one.value[1])) },
    ];
    return series.length ? [toDataFrame({ refId: target.refId, fields })] : [];
  }
  const name = (labels: Record<string, string>) => {
    if (target.legendFormat !== "__auto") return target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_: string, label: string) => labels[label] ?? "");
    const pairs = Object.entries(labels).filter(([label]) => label !== "__name__").map(([label, value]) => `${label}="${value}"`);
    return `${labels.__name__ ?? ""}{${pairs.join(", ")}}`;
  };
  return series.map(({ metric, values, value }) => {
    const points: [number, string][] = values ?? [value];
    return toDataFrame({ refId: target.refId, fields: [
      { name: "Time", type: FieldType.time, config: { interval: step * 1000 }, values: points.map(([at]) => at * 1000) },
      { name: "Value", type: FieldType.number, labels: metric, config: { displayNameFromDS: name(metric) }, values: points.map(([, text]) => Number(text)) },
    ] });
  });
}

const property = (path: string) => ({
  id: path, path, name: path, isCustom: false, process: (value: unknown) => value, shouldApply: () => true, override: () => null, editor: () => null, settings: {},
});

/** Every setting of fields that a dashboard has. */
function settings(): { standard: string[]; custom: string[] } {
  const all = new Set<string>();
  for (const { fieldConfig } of dashboard.panels.filter((panel: any) => panel.fieldConfig)) {
    Object.keys(fieldConfig.defaults).filter(name => name !== "custom").forEach(name => all.add(name));
    Object.keys(fieldConfig.defaults.custom).forEach(name => all.add(`custom.${name}`));
    for (const { properties } of fieldConfig.overrides) properties.forEach(({ id }: { id: string }) => all.add(id));
  }
  const [custom, standard] = [true, false].map(wanted => [...all].filter(name => name.startsWith("custom.") === wanted));
  return { standard, custom: custom.map(name => name.slice("custom.".length)) };
}

const { standard, custom } = settings();
standardEditorsRegistry.setInit(() => []);
standardFieldConfigEditorRegistry.setInit(() => standard.map(property) as any);
const { mergeTransformer, organizeFieldsTransformer, sortByTransformer } = standardTransformers;
standardTransformersRegistry.setInit(() => [mergeTransformer, organizeFieldsTransformer, sortByTransformer].map((one: any) =>
  ({ id: one.id, name: one.name, transformation: async () => one })) as any);
const registry = createFieldConfigRegistry({ useCustomConfig: (builder: any) =>
  custom.forEach(path => builder.addCustomEditor({ ...property(path), defaultValue: undefined })) } as any, "all");

async function load(panel: any): Promise<DataFrame[]> {
  const answers = await Promise.all(panel.targets.map(async (target: any) =>
    framesOf(target, panel.targets.length > 1, await ask(target.expr, target.instant))));
  let data: DataFrame[] = answers.flat();
  if (panel.transformations) data = await firstValueFrom(transformDataFrame(panel.transformations, data, { interpolate: unchanged }));
  data = applyFieldOverrides({
    data, fieldConfig: panel.fieldConfig, replaceVariables: unchanged, theme, timeZone: "utc", fieldConfigRegistry: registry,
  } as any);
  data.flatMap(frame => frame.fields).filter(field => field.type === FieldType.number)
    .forEach((field, seriesIndex) => { field.state = { ...field.state, seriesIndex }; });
  cacheFieldDisplayNames(data);
  return data;
}

type Mark = { colour: string; from: number; to: number };

/** One mark from the first point of a series to the one before the next hole. */
async function marks(): Promise<Mark[]> {
  const all = await Promise.all(dashboard.annotations.list.map(async ({ expr, iconColor }: any) =>
    (await ask(expr, false)).flatMap(({ values }: { values: [number, string][] }) => {
      const found: Mark[] = [];
      for (const [at] of values) {
        const last = found.at(-1);
        if (last && at - last.to <= step) last.to = at;
        else found.push({ colour: theme.visualization.getColorByName(iconColor), from: at, to: at });
      }
      return found;
    })));
  return all.flat();
}

function Marks({ builder, found }: { builder: any; found: Mark[] }) {
  useState(() => builder.addHook("draw", (plot: any) => {
    const { left, top, width, height } = plot.bbox, context = plot.ctx, x = (at: number) => plot.valToPos(at * 1000, "x", true);
    context.save();
    context.beginPath();
    context.rect(left, top, width, height + 6);
    context.clip();
    for (const { colour, from, to } of found) {
      context.strokeStyle = context.fillStyle = colour;
      context.setLineDash([4, 4]);
      context.beginPath();
      context.moveTo(x(from), top);
      context.lineTo(x(from), top + height);
      context.stroke();
      context.fillRect(x(from), top + height, Math.max(x(to) - x(from), 3), 4);
    }
    context.restore();
  }));
  return null;
}

function StandIn({ panel, data, width, height }: { panel: any; data: DataFrame[]; width: number; height: number }) {
  const rows: { name: string; cells: { at: number; to: number; colour: string; text: string }[] }[] = [];
  const value = (frame: DataFrame) => frame.fields.find(field => field.type === FieldType.number) as Field;
  if (panel.type === "state-timeline") {
    for (const frame of data) {
      const row = { name: getFieldDisplayName(value(frame), frame, data), cells: [] as any[] };
      frame.fields[0].values.forEach((time: number, index: number) => {
        const { text, color } = value(frame).display!(value(frame).values[index]), at = time / 1000, last = row.cells.at(-1);
        if (last && last.text === text && at - last.to < 1) last.to = at + step;
        else row.cells.push({ at, to: at + step, text, colour: color });
      });
      rows.push(row);
    }
  } else {
    const bound = (frame: DataFrame) => Number(value(frame).labels!.le.replace("+Inf", "Infinity"));
    const sorted = [...data].sort((one, other) => bound(one) - bound(other));
    const counts = sorted.map((frame, index) => frame.fields[0].values.map((time: number, point: number) => {
      const below = sorted[index - 1], at = below?.fields[0].values.indexOf(time) ?? -1;
      return { at: time / 1000, count: value(frame).values[point] - (at < 0 ? 0 : value(below).values[at]) };
    }));
    const most = Math.max(...counts.flat().map(({ count }) => count));
    sorted.forEach((frame, index) => {
      const { text, suffix } = value(frame).display!(bound(frame));
      rows.unshift({ name: bound(frame) === Infinity ? "more" : `${text}${suffix ?? ""}`, cells: counts[index].filter(({ count }) => count > 0).map(({ at, count }) =>
        ({ at, to: at + step, text: "", colour: `rgba(87, 148, 242, ${Math.sqrt(count / most)})` })) });
    });
  }
  const letters = Math.max(...rows.map(({ name }) => name.length)), label = Math.min(letters * 6.5 + 20, width * 0.7);
  const each = Math.min(26, (height - 4) / rows.length), x = (at: number) => (Math.max(0, at - start) / (end - start)) * (width - label - 8);
  const line: CSSProperties = { position: "absolute", overflow: "hidden", whiteSpace: "nowrap", textOverflow: "ellipsis", fontSize: Math.min(12, each - 1), lineHeight: `${each - 2}px` };
  return <>{rows.map(({ name, cells }, row) => <div key={row}>
    <span data-name={name} title={name} style={{ ...line, left: 8, width: label - 12, top: row * each, height: each - 2 }}>{name}</span>
    {cells.map(({ at, to, colour, text }) => <span key={at} data-state={text} style={{ ...line, textOverflow: "clip", left: label + x(at), width: x(Math.min(to, end)) - x(at), top: row * each,
      height: each - 2, background: colour, color: theme.colors.getContrastText(colour.startsWith("rgba") ? "#000" : colour) }}>
      {x(to) - x(at) > 50 ? ` ${text}` : ""}</span>)}
  </div>)}</>;
}

function Drawn({ panel, data, found, width, height }: { panel: any; data: DataFrame[]; found: Mark[]; width: number; height: number }) {
  if (panel.type === "stat") {
    const { reduceOptions, colorMode, graphMode } = panel.options;
    const values = getFieldDisplayValues({ fieldConfig: panel.fieldConfig, reduceOptions, replaceVariables: unchanged, theme, data, timeZone: "utc" } as any);
    const textMode = values.length > 1 ? BigValueTextMode.ValueAndName : BigValueTextMode.Value;
    return <VizRepeater getValues={() => values} width={width} height={height} source={data} itemSpacing={3} autoGrid orientation={VizOrientation.Auto} renderCounter={0}
      renderValue={({ value, width, height, count }) => <BigValue theme={theme} value={value.display} count={count} {...{ width, height, colorMode, graphMode, textMode }} />} />;
  }
  // So Grafana does with a panel that has nothing to draw.
  if (!data.some(frame => frame.length)) return <div style={{ textAlign: "center", paddingTop: height / 2 - 10 }} data-nothing="">{panel.fieldConfig.defaults.noValue}</div>;
  if (panel.type === "table") return <TableNG data={data[0]} width={width} height={height} cellHeight={panel.options.cellHeight} fieldConfig={panel.fieldConfig} timeRange={timeRange} />;
  if (panel.type === "timeseries") {
    return <TimeSeries frames={data} structureRev={1} timeRange={timeRange} timeZone="utc" width={width} height={height} legend={{ calcs: [], ...panel.options.legend }}>
      {builder => <Marks builder={builder} found={found} />}
    </TimeSeries>;
  }
  return <StandIn {...{ panel, data, width, height }} />;
}

function Panel({ panel, found, done }: { panel: any; found: Mark[]; done: () => void }) {
  const [data, set] = useState<DataFrame[]>();
  useEffect(() => { load(panel).then(set, wrong => console.error(`${panel.title}: ${wrong}`)).finally(done); }, []);
  const { x, y, w, h } = panel.gridPos, by = ["stat", "table", "timeseries"].includes(panel.type) ? [] : [<span key="by" style={{ opacity: 0.7, paddingLeft: 8 }}>drawn by a stand-in</span>];
  return <section data-panel={panel.title} style={{ position: "absolute", left: x * COLUMN, top: y * ROW }}>
    <PanelChrome title={panel.title} width={w * COLUMN - GAP} height={h * ROW - GAP} padding={panel.type === "table" ? "none" : "md"} titleItems={by}>
      {(width, height) => data ? <div style={{ position: "relative", width, height }}><Drawn {...{ panel, data, found, width, height }} /></div> : "…"}
    </PanelChrome>
  </section>;
}

function Dashboard({ found }: { found: Mark[] }) {
  const panels = dashboard.panels.filter((panel: any) => panel.type !== "row"), rows = dashboard.panels.filter((panel: any) => panel.type === "row");
  let left = panels.length;
  // Grafana draws some of it later than React does.
  const done = () => { if (--left === 0) setTimeout(() => { document.title = "drawn"; }, 1500); };
  const bottom = Math.max(...dashboard.panels.map(({ gridPos }: any) => gridPos.y + gridPos.h));
  const chosen = Object.entries(scene.variables).map(([name, value]) => `${name} ${value === ".+" ? "All" : value}`).join(" · ");
  return <ThemeContext.Provider value={theme}>
    <GlobalStyles isExtensionSidebarOpen={false} hackNoBackdropBlur={false} />
    <main style={{ padding: GAP, width: 24 * COLUMN + GAP, background: theme.colors.background.canvas }}>
      <header style={{ display: "flex", gap: 16, padding: "0 8px 8px" }}>
        <b>{dashboard.title}</b><span>{chosen}</span><span style={{ flex: 1 }} />
        {dashboard.annotations.list.map(({ name, iconColor }: any) => <span key={name} style={{ borderBottom: `3px solid ${theme.visualization.getColorByName(iconColor)}` }}>{name}</span>)}
      </header>
      <div style={{ position: "relative", height: bottom * ROW }}>
        {rows.map((row: any) => <h5 key={row.id} style={{ position: "absolute", top: row.gridPos.y * ROW + 8, left: 8 }}>{row.title}</h5>)}
        {panels.map((panel: any) => <Panel key={panel.id} {...{ panel, found, done }} />)}
      </div>
    </main>
    <PortalContainer />
  </ThemeContext.Provider>;
}

marks().then(found => createRoot(document.getElementById("root")!).render(<Dashboard found={found} />));
