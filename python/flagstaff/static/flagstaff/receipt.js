// A browser focuses nothing on a page whose URL has a fragment: the message about a change is read.
"use strict";

document.querySelector(".flagstaff-receipt[autofocus]")?.focus({ preventScroll: true });
