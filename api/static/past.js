// Looking back: a customer as it was, in the place of what it is; and why a figure is what it is.
//
// - What is now is put aside as it stands, with what was revealed and written there, and comes back untouched.
// - One question at a time: whoever drags the slider gets the last place, not all those between.
"use strict";
const Past = (() => {
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const headers = { "X-Time-Zone": zone };
  const bar = () => find("#past-bar");
  const slider = () => find("#past-slider");
  const now = () => held ?? find("#customer");
  const tell = (kind, detail) => document.dispatchEvent(new CustomEvent(`scv:${kind}`, { detail }));

  let held = null;      // the customer as it is now, while another time is on the screen
  let scrolled = 0;     // how far its timeline was read
  let shown = "";       // the time on the screen, as a query; empty for now
  let wanted = null;    // the time to ask for next, as a query
  let asking = false, opening = false;
  let serial = 0;       // of the latest wish
  let steps = [];
  let place = 0;        // the last step up to the time that is shown; -1 before all of them
  let between = false;  // that time is none of a step

  const clock = () => (find("#past-known")?.checked ? "known_at" : "as_of");
  const queryOf = (at) => new URLSearchParams({ [clock()]: at }).toString();

  const page = async (path) => {
    const answer = await fetch(path, { headers });
    if (answer.ok) return new DOMParser().parseFromString(await answer.text(), "text/html");
    let said = "That did not work; try again.";
    try { said = (await answer.json()).detail; } catch { /* no problem document */ }
    if (answer.status === 401) said = "You are signed out: your key is not known any more. Load the page again.";
    throw new Error(said, { cause: answer.status });
  };
  const complain = (error) => tell("problem", error.cause ? error.message : "The server does not answer. Try again.");

  // ---- The bar
  const open = async () => {
    const customer = now();
    if (!customer || opening) return;
    opening = true;
    try {
      const made = find("#past-bar", await page(`/agent/customers/${customer.dataset.customer}/steps`));
      if (!made || customer !== find("#customer")) return;
      customer.before(document.adoptNode(made));
      lay();
      find("#past-at")?.setAttribute("max", local(new Date()));
      (find("#past-slider:enabled") ?? find("#past-at") ?? find("button", bar())).focus();
    } catch (error) { complain(error); } finally { opening = false; }
  };
  // The steps of the clock that is chosen. The last of them is what is now: the slider ends there.
  const lay = () => {
    steps = all(`[data-clock="${clock()}"] li`, bar());
    const range = slider();
    if (!range) return;
    range.max = String(Math.max(0, steps.length - 1));
    range.disabled = steps.length < 2;
    find("#past-ticks").replaceChildren(...steps.map((step, at) => {
      const tick = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      const wide = Math.min(3, 600 / steps.length);
      tick.setAttribute("x", String((1000 - wide) * (steps.length > 1 ? at / (steps.length - 1) : 1)));
      tick.setAttribute("width", String(wide));
      tick.setAttribute("height", "10");
      tick.setAttribute("class", step.dataset.domain);
      return tick;
    }));
    name(steps.length - 1);
  };
  // What the slider says of its place, and what had happened last by then.
  const name = (at, when) => {
    place = at;
    between = when !== undefined;
    if (slider()) slider().value = String(Math.max(at, 0));
    const step = steps[at], isNow = at === steps.length - 1 && when === undefined;
    slider()?.setAttribute("aria-valuetext", isNow ? "Now" : step ? `${when ?? step.dataset.when}, after ${step.textContent}` : when ?? "Before everything");
    const after = find("#past-after");
    after.hidden = isNow || !step;
    after.textContent = step ? `after: ${step.textContent}` : "";
    all("[data-do=earlier]", bar()).forEach((one) => { one.disabled = at < 0 || (at === 0 && !between); });
    all("[data-do=later]", bar()).forEach((one) => { one.disabled = isNow; });
  };
  const go = (at) => {
    const last = steps.length - 1;
    if (last < 0) return;
    name(Math.min(Math.max(at, 0), last));
    if (place === last) present(); else show(steps[place].dataset.at);
  };
  // A time that is none of a step: the slider stands at the one before.
  const goBetween = (at, when) => {
    name(steps.filter((step) => new Date(step.dataset.at) <= at).length - 1, when);
    show(at.toISOString());
  };

  // ---- What is on the screen
  const show = async (at) => {
    wanted = queryOf(at);
    serial += 1;
    if (asking) return;
    asking = true;
    try {
      while (wanted !== null && now() && bar()) {
        const number = serial, customer = now(), query = wanted;
        wanted = null;
        const made = find("#past", await page(`/agent/customers/${customer.dataset.customer}/past?${query}`));
        // Unless another time is wanted by now, or what is now.
        if (made && number === serial && customer === now()) put(made, query);
      }
    } catch (error) {
      wanted = null;
      complain(error);
    } finally { asking = false; }
  };
  const put = (made, query) => {
    shown = query;
    const article = document.adoptNode(made);
    if (held) find("#past").replaceWith(article);
    else {
      scrolled = find("#timeline")?.scrollTop ?? 0;
      held = find("#customer");
      held.replaceWith(article);
    }
    document.body.classList.add("past");
    say(article.dataset.title, "— not now");
    document.title = `${article.dataset.title} · scv`;
    tell("shown");
  };
  const say = (title, rest) => {
    find("[data-title]", bar()).textContent = title;
    find("[data-rest]", bar()).textContent = rest;
  };
  // What is now, again; the bar stays.
  const present = () => {
    wanted = null;
    serial += 1;
    document.body.classList.remove("past");
    shown = "";
    if (bar()) say("As it is now", "");
    if (!held) return;
    find("#past").replaceWith(held);
    document.title = `${held.dataset.title} · scv`;
    const timeline = find("#timeline", held);
    held = null;
    if (timeline) timeline.scrollTop = scrolled;
    tell("shown");
  };
  const leave = () => {
    if (!bar()) return;
    present();
    bar().remove();
    find("[data-do=look-back]")?.focus({ preventScroll: true });
  };
  // Another customer is on the screen.
  const forget = () => {
    held = wanted = null;
    serial += 1;
    shown = "";
    document.body.classList.remove("past");
  };

  // ---- Dates
  const local = (at) => {
    const two = (number) => String(number).padStart(2, "0");
    return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}`;
  };
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "past-form") return;
    event.preventDefault();
    const at = new Date(find("#past-at").value);
    if (Number.isNaN(at.getTime())) return;
    goBetween(at, at.toLocaleString("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" }));
  });
  document.addEventListener("input", (event) => {
    if (event.target.id === "past-slider") go(Number(event.target.value));
    if (event.target.id === "past-known") {
      // The same time by the other clock, as near as its steps come.
      const at = shown && new URLSearchParams(shown).values().next().value;
      lay();
      if (at) goBetween(new Date(at), find("#past-said b").textContent.replace(/^.* on /, ""));
    }
  });

  // ---- Why?
  let asked = 0;
  const why = async (field) => {
    const dialog = find("#why"), inside = find("#why-inside"), number = ++asked;
    inside.replaceChildren(Object.assign(document.createElement("p"), { className: "faint", textContent: "Looking into the log…" }));
    if (!dialog.open) dialog.showModal();
    let made;
    try {
      const path = `/agent/customers/${now().dataset.customer}/why/${encodeURIComponent(field)}`;
      made = [...(await page(shown ? `${path}?${shown}` : path)).body.children];
    } catch (error) {
      const said = Object.assign(document.createElement("p"), { className: "notice danger", textContent: error.cause ? error.message : "The server does not answer. Try again." });
      made = [said];
    }
    if (number === asked) inside.replaceChildren(...made.map((one) => document.adoptNode(one)));
  };

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-why], [data-do]");
    if (!target) return;
    const { why: field, do: what } = target.dataset;
    if (field) why(field);
    else if (what === "look-back") toggle();
    else if (what === "now") leave();
    else if (what === "earlier") go(between ? place : place - 1);
    else if (what === "later") go(place + 1);
  });
  const toggle = () => (bar() ? leave() : open());

  return {
    // The customer as it is now, if it is put aside.
    get held() { return held; },
    get isOpen() { return Boolean(bar()); },
    get isShown() { return Boolean(held); },
    toggle, leave, forget,
    // A button for what is new, beside the way back.
    news(button) { if (bar()) find("#past-news").replaceChildren(...(button ? [button] : [])); },
  };
})();
