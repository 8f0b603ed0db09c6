// Before the page is drawn, so that it does not flash.
"use strict";
document.documentElement.classList.add("js");
const theme = localStorage.getItem("headwater-theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
