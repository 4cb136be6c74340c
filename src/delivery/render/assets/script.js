"use strict";
// Follows the newest report: asks for this page again, and replaces <main>.
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

  // The focus: by its id, or which of those with its address it is.
  const focus = () => {
    const at = doc.activeElement, id = at.id, href = at.getAttribute("href");
    const same = () => id ? [find("#" + CSS.escape(id))] : all(doc, "main a").filter(a => a.getAttribute("href") === href);
    const place = same().indexOf(at), { value, selectionStart, selectionEnd } = at;
    return () => {
      const to = same()[place];
      if (!to || to === doc.activeElement) return;
      to.focus({ preventScroll: true });
      if (typeof selectionStart !== "number") return;
      to.value = value;
      to.setSelectionRange(selectionStart, selectionEnd);
    };
  };

  const replace = text => {
    const next = new DOMParser().parseFromString(text, "text/html");
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
      const answer = await fetch(location, { headers: { "If-None-Match": tag }, cache: "no-store" });
      // What is being selected is not taken away.
      if (answer.status !== 304 && getSelection().isCollapsed) {
        replace(await answer.text());
        tag = answer.headers.get("ETag") || "";
      }
      seen = new Date().toISOString().slice(11, 19) + " UTC";
      if (root.classList.contains("stale")) say("", false);
    } catch {
      say(`No answer from the agent since ${seen}: this may be out of date.`, true);
    }
    plan();
  };

  addEventListener("keydown", event => {
    const search = find("#q");
    if (event.key !== "/" || event.ctrlKey || event.altKey || event.metaKey || !search || event.target.matches("input")) return;
    event.preventDefault();
    search.focus();
  });
  for (const sign of ["focus", "mousemove", "keydown", "touchstart"]) addEventListener(sign, wake, { passive: true });
  plan();
})();
