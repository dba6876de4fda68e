// Light or dark: what the machine prefers, until somebody chooses; remembered in this browser.
// Loaded before anything is drawn, so that no page is shown in the wrong one first.
"use strict";
(() => {
  const root = document.documentElement;
  const chosen = () => { try { return localStorage.getItem("scv-theme"); } catch { return null; } };
  const theme = chosen();
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#theme")) return;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("scv-theme", root.dataset.theme); } catch { /* it holds for this page */ }
  });
})();
