// The agent's desktop: calls that come in, keys, and what happens while a customer is open.
//
// - What is being read is never moved: news waits behind a button until somebody asks for it.
// - Names that were looked up stay in this page's memory; addresses and the history hold none.
// - What an agent has begun to write is never thrown away by a call, a merge or an update.
"use strict";
(() => {
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const desk = find("#desk");
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const headers = { "X-Time-Zone": zone };
  // As it is now, also while it is put aside for another time (past.js).
  const customer = () => Past.held ?? find("#customer");
  const remembered = (key) => { try { return localStorage.getItem(key); } catch { return null; } };

  let asked = "";        // what was looked up last
  let opened = 0;        // when the customer was opened, in milliseconds
  let fresh = null;      // the customer as it is by now, not shown yet
  let following = null;  // whom to go on to after a merge
  let calling = null;    // a call that waits for the agent
  let current = null;    // the look-up in flight
  let leaving = false;   // the agent has said that what is written may go

  // What there is to say, in one place that is always there, the most urgent first.
  const URGENCY = ["problem", "call", "merged", "gone", "offline", "stale", "saved"];
  const said = new Map();
  const say = (kind, text = "") => {
    if (said.get(kind) === text) return;
    said.set(kind, text);
    showSaid();
  };
  const unsay = (...kinds) => { if (kinds.filter((kind) => said.delete(kind)).length) showSaid(); };
  const showSaid = () => {
    const kind = URGENCY.find((one) => said.has(one));
    const place = find("#word-in");
    if (!kind) { place.replaceChildren(); return; }
    const made = find(`[data-kind="${kind}"]`, find("#words-in").content).cloneNode(true);
    const text = find("[data-said]", made);
    if (text) text.textContent = said.get(kind);
    place.replaceChildren(made);
  };

  // ---- Looking up
  const lookUp = (names, call) => {
    asked = names;
    htmx.ajax("POST", "/agent/lookup", {
      target: "#desk", swap: "innerHTML", values: { names, ...(call ? { calling: "yes" } : {}) },
    });
  };
  const decoded = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
  // /agent#phone=+4930901820: a screen pop. A plus is a plus here, as nobody sends this as a form.
  const arrive = () => {
    const names = location.hash.slice(1).split("&").filter((part) => /^[a-z][a-z0-9_.-]*=./.test(part))
      .map((part) => `${part.slice(0, part.indexOf("="))}:${decoded(part.slice(part.indexOf("=") + 1))}`);
    if (!names.length) return;
    history.replaceState(null, "", location.pathname);
    if (isWritten()) { calling = names.join("\n"); say("call"); } else lookUp(names.join("\n"), true);
  };
  const isWritten = () => {
    const form = customer() && find("#wrap-up-form", customer());
    return Boolean(form) && [...new FormData(form)].some(([name, value]) =>
      value && !["form_id", "seconds", "channel", "case_id", "follow_up_kind"].includes(name));
  };

  document.addEventListener("htmx:configRequest", (event) => {
    const { elt, parameters } = event.detail;
    Object.assign(event.detail.headers, headers);
    if (elt.matches("form[hx-post='/agent/lookup']")) {
      if (elt.matches("[data-narrows]")) parameters.set("names", `${asked}\n${parameters.get("names")}`);
      asked = parameters.get("names");
    }
    if (elt.id === "wrap-up-form") parameters.set("seconds", String(Math.round((Date.now() - opened) / 1000)));
  });
  // Nobody leaves what they wrote without knowing; opening the caller that waits is to know.
  document.addEventListener("htmx:confirm", (event) => {
    if (event.detail.target !== desk || leaving || !isWritten()) return;
    event.preventDefault();
    if (confirm("What you wrote for this customer is not saved. Leave it?")) event.detail.issueRequest(true);
  });
  // Of two look-ups the later one counts, whichever answers first.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.target !== desk) return;
    current?.abort();
    current = event.detail.xhr;
    unsay("problem");
  });
  document.addEventListener("htmx:afterSwap", (event) => { if (event.detail.target === desk) onDesk(); });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful && event.detail.elt.id === "reveal-form") find("#reveal").close();
  });
  document.addEventListener("htmx:responseError", (event) => {
    let text = "That did not work; try again.";
    try { text = JSON.parse(event.detail.xhr.responseText).detail; } catch { /* no problem document */ }
    if (event.detail.xhr.status === 401) text = "You are signed out: your key is not known any more. Load the page again.";
    complain(event.detail.elt, text);
  });
  document.addEventListener("htmx:sendError", (event) => complain(event.detail.elt, "The server does not answer. Try again."));
  // Beside the form that failed, where there is one: it may lie above everything else.
  const complain = (element, text) => {
    const form = element?.closest?.("dialog form");
    if (!form) { say("problem", text); return; }
    const place = find(".form-error", form) ?? form.appendChild(document.createElement("p"));
    place.className = "notice danger form-error";
    place.setAttribute("role", "alert");
    place.textContent = text;
  };
  document.addEventListener("submit", (event) => find(".form-error", event.target)?.remove(), true);

  document.addEventListener("scv:problem", (event) => say("problem", event.detail));

  const onDesk = () => {
    Past.forget();
    all("dialog[open]:not(#customer dialog)").forEach((one) => one.close());
    fresh = following = calling = null;
    unsay("merged", "gone", "call", "problem", "saved");
    opened = Date.now();
    const title = find("[data-title]", desk)?.dataset.title;
    document.title = title ? `${title} · scv` : "Customers · scv";
    const reveal = find("#reveal-form");
    reveal.reset();
    if (customer()) {
      reveal.setAttribute("hx-post", `/agent/customers/${customer().dataset.customer}/reveal`);
      htmx.process(reveal);
    }
    listen();
    (find("#customer-name") ?? find(".candidate") ?? find("input", desk))?.focus();
  };

  // ---- What happens meanwhile
  let source = null, heardAt = 0, lostAt = null;
  const listen = () => {
    source?.close();
    const open = customer();
    source = new EventSource(`/agent/stream${open ? `?profile=${open.dataset.customer}` : ""}`);
    heardAt = Date.now();
    source.addEventListener("freshness", (event) => { online(); freshness(JSON.parse(event.data)); });
    source.addEventListener("profile", (event) => {
      online();
      if (JSON.parse(event.data).version !== customer()?.dataset.version) look();
    });
    source.addEventListener("merged", (event) => moved("merged", JSON.parse(event.data).into));
    source.addEventListener("gone", (event) => moved("gone", JSON.parse(event.data).customer_id));
    source.onerror = offline;
  };
  const moved = (kind, id) => { source.close(); heardAt = Infinity; following = id; say(kind); };
  const online = () => { heardAt = Date.now(); lostAt = null; unsay("offline"); };
  const offline = () => {
    lostAt ??= new Date();
    freshness({ state: "offline", word: "Disconnected", said: "" });
    say("offline", lostAt.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  };
  const freshness = ({ state, word, said: why }) => {
    const badge = find("#freshness");
    badge.dataset.state = state;
    badge.title = why;
    find("#freshness-word").textContent = word;
    document.body.classList.toggle("stale", state === "stale");
    document.body.classList.toggle("offline", state === "offline");
    if (state === "stale") say("stale", why); else unsay("stale");
  };

  let looking = false, again = false;
  const look = async () => {
    if (looking) { again = true; return; }
    const open = customer();
    if (!open) return;
    looking = true;
    try {
      const answer = await fetch(`/agent/customers/${open.dataset.customer}`, { headers });
      const found = answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
      const article = found && find("#customer", found);
      if (article && open === customer() && article.dataset.customer === open.dataset.customer) {
        fresh = article;
        tellNews();
      }
    } catch { /* the stream says when the line is back */ } finally {
      looking = false;
      if (again) { again = false; look(); }
    }
  };
  const ids = (article) => new Set(all("[data-event]", article).map((one) => one.dataset.event));
  const words = (article) => new Set(all(".alert b", article).map((one) => one.textContent));
  const added = (which) => [...which(fresh)].filter((one) => !which(customer()).has(one));
  const tellNews = () => {
    const news = find("#news", customer()), count = added(ids).length, alerts = added(words);
    const text = count ? `${count} new event${count === 1 ? "" : "s"}` : "Updated";
    const button = find("button", news) ?? document.createElement("button");
    button.type = "button";
    button.className = "small primary";
    button.dataset.do = "show-news";
    button.textContent = alerts.length ? `${text} · ${alerts[0]}` : text;
    const key = document.createElement("kbd");
    key.textContent = "N";
    button.append(" ", key);
    news.replaceChildren(button);
    onTime();
  };
  // Another time is on the screen, or what is now again: news is counted all the same.
  const onTime = () => {
    Past.news(Past.isShown && fresh ? find("#news button", customer()).cloneNode(true) : null);
    filter();
  };
  document.addEventListener("scv:shown", () => onTime());
  // The parts that a customer's events change. Dialogs stay: somebody may be writing there.
  const PARTS = [".who-is-it", ".reason", ".columns"];
  const showNews = () => {
    if (!fresh) return;
    Past.leave();
    const open = customer(), newer = new Set(added(ids)), shown = fresh;
    fresh = null;
    all("[data-kept]", open).forEach((kept) => find(`#${kept.id}`, shown)?.replaceWith(kept));
    for (const part of PARTS) {
      const made = document.adoptNode(find(part, shown));
      find(part, open).replaceWith(made);
      htmx.process(made);
    }
    open.dataset.version = shown.dataset.version;
    all("[data-event]", open).forEach((one) => one.classList.toggle("new", newer.has(one.dataset.event)));
    filter();
    find("#timeline")?.focus({ preventScroll: true });
    return shown;
  };
  document.addEventListener("scv:saved", async (event) => {
    Past.leave();
    const text = find("#saved").textContent.trim();
    await look();
    const shown = showNews();
    const written = shown && find("#wrap-up", shown);
    if (written) {
      find("#wrap-up").replaceWith(document.adoptNode(written));
      htmx.process(written);
    }
    say("saved", text);
    opened = Date.now();
    find("#customer-name")?.focus();
    event.stopPropagation();
    if (calling) say("call");
  });

  // ---- The timeline's filters
  const wanted = new Set();
  const filter = () => {
    all(".filter").forEach((one) => one.setAttribute("aria-pressed", String(wanted.has(one.dataset.filter))));
    all(".entry").forEach((one) => { one.hidden = wanted.size > 0 && ![...wanted].some((domain) => one.classList.contains(domain)); });
    all(".timeline ol").forEach((list) => {
      const empty = all(".entry:not([hidden])", list).length === 0;
      list.hidden = empty;
      list.previousElementSibling.hidden = empty;
    });
  };

  // ---- Dialogs and keys
  const openDialog = (name, field) => {
    const dialog = document.getElementById(name);
    if (!dialog || dialog.open) return;
    if (name === "reveal") {
      if (!customer() || !find(".peek")) return;
      find("#reveal-form").reset();
      if (field) find(`[name="field:${field}"]`, dialog).checked = true;
    }
    if (dialog.matches("[data-beside]")) {
      dialog.show();
      find("#talk-time").textContent = `open for ${Math.max(1, Math.round((Date.now() - opened) / 60000))} min`;
    } else dialog.showModal();
    const first = name === "reveal" && field ? "[name=reason]" : "input:not([type=hidden]), textarea";
    (find(first, dialog) ?? dialog).focus();
    if (name === "look-up") find("input", dialog).select();
  };
  // Callers are verified, and things written down, now.
  const openNow = (name) => { Past.leave(); openDialog(name); };
  const DO = {
    "show-news": showNews,
    follow: () => htmx.ajax("GET", `/agent/customers/${following}`, { target: "#desk", swap: "innerHTML" }),
    answer: () => { leaving = true; lookUp(calling, true); leaving = false; },
    dismiss: () => unsay("problem", "saved"),
  };
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-open], [data-close], [data-do], [data-filter]");
    if (!target) return;
    const { open, close, do: what, filter: domain, field } = target.dataset;
    if (open) openDialog(open, field);
    else if (close !== undefined) target.closest("dialog").close();
    else if (what) DO[what]?.();
    else if (domain) { if (!wanted.delete(domain)) wanted.add(domain); filter(); }
  });
  document.addEventListener("input", (event) => {
    const { form, name } = event.target;
    if (form?.id !== "wrap-up-form") return;
    for (const part of all(`[data-with="${name}"]`, form)) {
      part.hidden = event.target.type === "checkbox" ? !event.target.checked : !event.target.value;
      const due = find("[type=datetime-local]", part);
      if (due && !part.hidden && !due.value) due.value = tomorrow();
    }
  });
  const tomorrow = () => {
    const at = new Date(Date.now() + 24 * 3600 * 1000), two = (number) => String(number).padStart(2, "0");
    return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T12:00`;
  };
  const singleKeys = find("#single-keys");
  singleKeys.checked = remembered("scv-single-keys") !== "off";
  singleKeys.addEventListener("change", () => {
    try { localStorage.setItem("scv-single-keys", singleKeys.checked ? "on" : "off"); } catch { /* for this page */ }
  });
  const KEYS = {
    n: () => (find("#past-news button") ?? find("#news button") ?? find("#word-in button"))?.click(),
    v: () => openNow("verify"),
    r: () => openNow("reveal"),
    w: () => openNow("wrap-up"),
    a: Past.toggle,
    t: () => find("#timeline")?.focus(),
    "?": () => openDialog("help"),
  };
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      all("dialog:modal").forEach((one) => one.close());
      openDialog("look-up");
    } else if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && event.target.form?.id === "wrap-up-form") {
      event.target.form.requestSubmit();
    } else if (event.key === "Escape" && event.target.closest(".drawer")) {
      event.target.closest(".drawer").close();
    } else if (event.key === "Escape" && Past.isOpen && !find("dialog:modal")) {
      Past.leave();
    } else if (singleKeys.checked && !event.ctrlKey && !event.metaKey && !event.altKey) {
      if (event.target.closest("input:not([type=range], [type=checkbox]), textarea, select") || find("dialog:modal")) return;
      const choice = find(`[data-key="${CSS.escape(event.key)}"]`);
      const act = KEYS[event.key.toLowerCase()];
      if (!choice && !act) return;
      event.preventDefault();
      if (choice) choice.click(); else act();
    }
  });

  // ---- What the time makes of it
  setInterval(() => {
    const now = new Date();
    for (const one of all("[data-zone]")) {
      one.textContent = now.toLocaleTimeString("en-GB", { timeZone: one.dataset.zone, hour: "2-digit", minute: "2-digit" });
    }
    for (const one of customer() ? all("time[datetime]", customer()) : []) {
      const minutes = Math.floor((now - new Date(one.dateTime)) / 60000);
      if (/^(just now|\d+ min ago)$/.test(one.textContent) && minutes < 60) {
        one.textContent = minutes < 1 ? "just now" : `${minutes} min ago`;
      }
    }
    // The stream says something every 15 s: longer silence is a line that went dead.
    if (now - heardAt > 40000) { offline(); listen(); }
  }, 5000);
  // Asked for anew: a server on this machine answers all the same, and a stream that still seems open may be dead.
  addEventListener("offline", () => { offline(); listen(); });
  addEventListener("online", () => { listen(); look(); });
  addEventListener("hashchange", arrive);
  addEventListener("beforeunload", (event) => { if (isWritten()) event.preventDefault(); });

  listen();
  arrive();
})();
