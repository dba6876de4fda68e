// Opened from another site, this page came without its cookie. Asked for from here, it comes with it; the lone
// question mark makes it another address, so that it is asked for at all.
"use strict";
location.replace(`${location.pathname}?${location.hash}`);
