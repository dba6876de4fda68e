// /ops refreshes itself. What somebody is reading stays where it is: parts that are the same are left alone, so are
// those with a selection in them and tables that were opened; new dead letters wait until they are asked for.
"use strict";
(() => {
  const poll = document.getElementById("poll");
  const pause = document.getElementById("pause");
  const gone = document.getElementById("gone");
  const dialogs = [...document.querySelectorAll("dialog")];
  // What is told of a dialog's own content, and what is asked of the server for it, belongs to that dialog.
  const dialogOf = (element) => element?.closest("dialog") ?? dialogs[0];
  let answeredAt = new Date();
  const paused = () => pause.getAttribute("aria-pressed") === "true";

  const utc = (at) => `${at.toISOString().slice(11, 19)} UTC`;

  // How it is stands in the window's title, and is read out when it changes; figures that only move are not.
  let told = "";
  const retitle = () => {
    const word = document.querySelector("#level [data-word]").dataset.word;
    if (told && word !== told) {
      document.getElementById("spoken").textContent = `${word}. ${document.getElementById("sentence").textContent}`;
    }
    told = word;
    document.title = `${word} · Operations · scv`;
  };

  const beingRead = (part) => {
    const selection = getSelection();
    const selected = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    // What moves all the time goes on moving: the button that has the focus is there again afterwards.
    const focused = !("moves" in part.dataset) && part.contains(document.activeElement);
    return selected || part.closest("details[data-still][open]") || focused;
  };

  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (fragment.innerHTML === target.innerHTML || beingRead(target)) event.detail.shouldSwap = false;
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target === poll && (paused() || document.hidden)) event.preventDefault();
  });

  document.addEventListener("visibilitychange", () => { if (!document.hidden) htmx.trigger(poll, "now"); });

  pause.addEventListener("click", () => {
    pause.setAttribute("aria-pressed", String(!paused()));
    pause.textContent = paused() ? "Go on" : "Pause";
    if (!paused()) htmx.trigger(poll, "now");
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.target !== poll || !event.detail.successful) return;
    answeredAt = new Date();
    gone.hidden = true;
    retitle();
  });

  const lost = (event) => {
    const status = event.detail.xhr ? event.detail.xhr.status : 0;
    // The key was revoked, or may no longer: the page itself says so.
    if (status === 401 || status === 403) { location.reload(); return; }
    if (event.target === poll) {
      gone.textContent = `This server does not answer. What you see is as of ${utc(answeredAt)}; it is tried again every 5 s.`;
      gone.hidden = false;
      return;
    }
    let said = "The server does not answer. Try again in a moment.";
    try { said = JSON.parse(event.detail.xhr.responseText).detail; } catch { /* nothing came */ }
    const dialog = dialogOf(event.detail.target);
    dialog.querySelector(".inside").textContent = said;
    if (!dialog.open) dialog.showModal();
  };
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(name, lost);

  // Refusals are pages, too: they stand beside the form, and what was typed stays.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    if (!event.target.closest("dialog") || !(xhr.getResponseHeader("content-type") || "").startsWith("text/html")) return;
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  });

  document.addEventListener("scv:settled", (event) => {
    const { position, word } = event.detail;
    const mark = document.querySelector(`[data-mark="${CSS.escape(position)}"]`);
    if (mark) mark.textContent = word;
    htmx.trigger(poll, "now");
  });

  document.addEventListener("scv:changed", () => htmx.trigger(poll, "now"));

  document.addEventListener("htmx:afterSwap", (event) => {
    const dialog = event.target.closest("dialog");
    if (dialog && !dialog.open) dialog.showModal();
    else if (event.target.id === "change-inside") event.target.querySelector(".notice").focus();
    // Where the forms were is the answer; who used them is there, too.
    if (event.target.id === "become") event.target.querySelector(".notice").focus();
    if (event.target.id === "latest") {
      document.getElementById("newer").replaceChildren();
      const first = event.target.querySelector("button");
      if (first) first.focus();
    }
  });
  for (const dialog of dialogs) {
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    // The button that opened it may be gone by then.
    dialog.addEventListener("close", () => {
      if (document.activeElement === document.body) document.getElementById("generations-title").focus();
    });
  }

  retitle();
})();
