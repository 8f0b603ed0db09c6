"use strict";
/** @type {HTMLFormElement | null} */ (document.querySelector("#enter"))?.requestSubmit();
