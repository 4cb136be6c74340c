// Asks for this page again, and replaces <main>.
(() => {
  const QUICK = 3000, SLOW = 60000, TIMES = 20, doc = document, root = doc.documentElement;
  const find = what => doc.querySelector(what), all = (of, what) => [...of.querySelectorAll(what)];
  let tag = "", quick = TIMES, timer, seen = "the start";

  const plan = () => {
    clearTimeout(timer);
    timer = setTimeout(poll, quick-- > 0 ? QUICK : SLOW);
  };
  const wake = () => {
    const slept = quick < 0;
    quick = TIMES;
    if (slept) plan();
  };
  const say = (text, failed) => {
    find("#live").textContent = text;
    root.classList.toggle("stale", failed);
  };

  const focus = () => {
    const at = doc.activeElement, id = at.id, href = at.getAttribute("href");
    const same = () => id ? [doc.getElementById(id)] : all(doc, "main a").filter(a => a.getAttribute("href") === href);
    const place = same().indexOf(at), { value, selectionStart, selectionEnd } = at;
    return () => {
      const to = same()[place];
      if (!to || to === doc.activeElement) return;
      to.focus({ preventScroll: true });
      if (selectionStart == null) return;
      to.value = value;
      to.setSelectionRange(selectionStart, selectionEnd);
    };
  };

  const replace = text => {
    const next = new DOMParser().parseFromString(text, "text/html");
    if (!next.querySelector("main")) throw text;
    const loads = of => all(of, "script,[rel=stylesheet]").map(e => e.getAttribute("src") || e.getAttribute("href")).join();
    if (loads(next) !== loads(doc)) return location.reload();
    const refocus = focus(), { scrollX, scrollY } = window;
    for (const old of all(doc, "main details[id]")) {
      const same = next.getElementById(old.id);
      if (same) same.open = old.open;
    }
    for (const part of ["main", "[rel=icon]"]) find(part).replaceWith(next.querySelector(part));
    if (doc.title !== next.title) say(doc.title = next.title, false);
    refocus();
    scrollTo(scrollX, scrollY);
  };

  const poll = async () => {
    try {
      const signal = AbortSignal.timeout(2e4);
      const answer = await fetch(location, { headers: { "If-None-Match": tag }, cache: "no-store", signal });
      const text = answer.status === 304 ? "" : await answer.text(), selected = !getSelection().isCollapsed;
      if (text && !selected) {
        replace(text);
        tag = answer.headers.get("ETag") || "";
      }
      if (text && selected) say("Not updated while text is selected.", true);
      else if (root.classList.contains("stale")) say("", false);
      seen = new Date().toISOString().slice(11, 19) + " UTC";
    } catch {
      say(`No answer from the agent since ${seen}: this may be old.`, true);
    }
    plan();
  };

  addEventListener("keydown", e => {
    const search = find("#q");
    if (e.key !== "/" || e.ctrlKey || e.altKey || e.metaKey || !search || e.target.matches("input")) return;
    e.preventDefault();
    search.focus();
  });
  for (const sign of ["focus", "mousemove", "keydown", "touchstart"]) addEventListener(sign, wake);
  plan();
})();
