// Signing in by a link: /sign-in#key=scv_…; whatever else the fragment holds (#phone=…) goes on to the next page.
// A fragment is sent to no server and logged nowhere; the key is taken out of the address at once.
"use strict";
(() => {
  const form = document.getElementById("sign-in");
  const arrive = () => {
    const parts = location.hash.slice(1).split("&").filter(Boolean);
    const given = parts.find((part) => part.startsWith("key="));
    const rest = parts.filter((part) => part !== given).join("&");
    form.action = form.getAttribute("action").split("#")[0] + (rest ? `#${rest}` : "");
    if (!given) return;
    history.replaceState(null, "", location.pathname + location.search + (rest ? `#${rest}` : ""));
    form.elements.key.value = decodeURIComponent(given.slice("key=".length));
    form.requestSubmit();
  };
  addEventListener("hashchange", arrive);
  arrive();
})();
