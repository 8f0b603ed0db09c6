// What pages do beyond links and forms. Each works without it.
"use strict";
(() => {
  const MINUTE = 60, HOUR = 3600, DAY = 86400;

  /** @param {Date} moment */
  function relative(moment) {
    const seconds = (Date.now() - moment.getTime()) / 1000, size = Math.abs(seconds);
    if (size < 1) return "now";
    const words = size < MINUTE ? `${Math.floor(size)} s` : size < HOUR ? `${Math.floor(size / MINUTE)} min`
      : size < 2 * DAY ? `${Math.floor(size / HOUR)} h` : `${Math.floor(size / DAY)} d`;
    return seconds > 0 ? `${words} ago` : `in ${words}`;
  }

  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const brief = new Intl.DateTimeFormat(undefined, { day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit" });

  /** Times in the reader's zone. @param {ParentNode} root */
  function tellTimes(root) {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(element.getAttribute("datetime"));
      const form = element.getAttribute("data-form");
      element.setAttribute("title", exact.format(moment));
      if (form !== "kept") element.textContent = form === "relative" ? relative(moment) : form === "exact" ? full.format(moment) : brief.format(moment);
    }
  }

  /** A button beside each exact value. @param {ParentNode} root */
  function addCopyButtons(root) {
    if (!navigator.clipboard) return;
    for (const element of root.querySelectorAll("[data-copy]:not([data-copies])")) {
      element.setAttribute("data-copies", "");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.title = "Copy";
      button.setAttribute("aria-label", `Copy ${(element.textContent || "").trim().slice(0, 40)}`);
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(element.getAttribute("data-copy") || (element.textContent || "").trim());
        button.classList.add("copied");
        setTimeout(() => button.classList.remove("copied"), 1200);
      });
      element.after(button);
    }
  }

  /** @param {ParentNode} root */
  function dress(root) { tellTimes(root); addCopyButtons(root); }

  const dialog = /** @type {HTMLDialogElement} */ (document.querySelector("#dialog"));
  document.addEventListener("htmx:after:swap", () => {
    dress(document);
    if (dialog.childElementCount && !dialog.open) dialog.showModal();
  });
  dialog?.addEventListener("close", () => dialog.replaceChildren());
  dialog?.addEventListener("click", (event) => {
    if (event.target === dialog || /** @type {Element} */ (event.target).closest("[data-close]")) {
      event.preventDefault();
      dialog.close();
    }
  });

  document.addEventListener("htmx:config:request", (event) => {
    const headers = event.detail?.ctx?.request?.headers;
    if (headers) headers["X-CSRF-Token"] = document.body.dataset.csrf;
  });

  // Forms that apply as one changes them, and have a button for where nothing runs.
  document.addEventListener("change", (event) => {
    const form = /** @type {Element} */ (event.target).closest("form[data-apply]");
    if (form) /** @type {HTMLFormElement} */ (form).requestSubmit();
  });
  document.addEventListener("input", (event) => {
    const slider = /** @type {HTMLInputElement} */ (event.target);
    if (slider.matches("input[type=range][data-shows]")) {
      document.querySelector(slider.dataset.shows).textContent = Number(slider.value).toLocaleString();
    }
  });
  document.addEventListener("change", (event) => {
    const all = /** @type {HTMLInputElement} */ (event.target);
    if (all.matches("[data-all]")) for (const box of all.form.querySelectorAll(`[name="${all.dataset.all}"]`)) box.checked = all.checked;
  });

  // Rows that are chosen: several at once with Shift, by keyboard with j, k and x; the button says how many there are.
  const chooser = /** @type {HTMLFormElement | null} */ (document.querySelector("form[data-choose]"));
  const boxes = chooser ? [...chooser.querySelectorAll(`[name="${chooser.dataset.choose}"]:not(:disabled)`)] : [];
  function tellChoice() {
    const button = chooser?.querySelector("[data-choice]");
    const count = boxes.filter((box) => box.checked).length;
    if (button) button.textContent = count ? button.dataset.choice.replace("the chosen", `the ${count} chosen`) : button.dataset.choice;
    if (button) button.disabled = !count;
  }
  let last = -1;
  chooser?.addEventListener("click", (event) => {
    const at = boxes.indexOf(event.target);
    if (at < 0) return;
    if (event.shiftKey && last >= 0) for (const box of boxes.slice(Math.min(at, last), Math.max(at, last) + 1)) box.checked = event.target.checked;
    last = at;
    tellChoice();
  });
  chooser?.addEventListener("change", tellChoice);
  /** @param {string} key */
  function choose(key) {
    const at = boxes.indexOf(document.activeElement);
    if (key === "x") { if (at >= 0) boxes[at].click(); return; }
    boxes[key === "j" ? Math.min(at + 1, boxes.length - 1) : Math.max(at - 1, 0)]?.focus();
  }

  document.querySelector("[data-theme-switch]")?.addEventListener("click", () => {
    const root = document.documentElement;
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    localStorage.setItem("headwater-theme", root.dataset.theme);
  });

  const places = { h: "", s: "streams", r: "runs", c: "crawlers", e: "externals" };
  let isGoing = false;
  document.addEventListener("keydown", (event) => {
    const jump = /** @type {HTMLInputElement} */ (document.querySelector("#jump"));
    if ((event.metaKey || event.ctrlKey) && event.key === "k") { event.preventDefault(); jump?.focus(); return; }
    if (event.key === "Escape" && document.activeElement === jump) { jump.value = ""; document.querySelector("#hits").replaceChildren(); jump.blur(); }
    const target = /** @type {Element} */ (event.target);
    if (event.metaKey || event.ctrlKey || event.altKey || target.closest("input:not([type=checkbox]), textarea, select, dialog")) return;
    if (boxes.length && !isGoing && ["j", "k", "x"].includes(event.key)) { choose(event.key); return; }
    if (isGoing && event.key in places) { location.assign(`${document.body.dataset.root}/console/${places[event.key]}`); return; }
    isGoing = event.key === "g";
    if (event.key === "/") { event.preventDefault(); jump?.focus(); }
    if (event.key === "?") /** @type {HTMLDialogElement} */ (document.querySelector("#keys-help")).showModal();
  });

  // The other way round than the browser, which goes down the rows of a result.
  document.querySelector(".jump")?.addEventListener("keydown", (event) => {
    const links = [...document.querySelectorAll("#hits a")];
    const at = links.indexOf(document.activeElement);
    const to = event.key === "ArrowDown" ? links[at + 1] : event.key === "ArrowUp" ? links[at - 1] || document.querySelector("#jump") : null;
    if (to) { event.preventDefault(); to.focus(); }
  });

  // Whoever comes from the list itself has removed its last filter.
  const isFromHere = () => URL.canParse(document.referrer) && new URL(document.referrer).pathname === location.pathname;

  // The last filters of a list are remembered.
  const list = document.querySelector("form[data-remember]");
  if (list) {
    const name = `headwater-filters:${location.pathname}`;
    const kept = new URLSearchParams(location.search);
    kept.delete("undone");
    kept.delete("after");
    if (location.search) sessionStorage.setItem(name, kept.size ? `?${kept}` : "");
    else if (sessionStorage.getItem(name) && !isFromHere()) location.replace(location.pathname + sessionStorage.getItem(name));
    list.querySelector("[data-forget]")?.addEventListener("click", () => sessionStorage.removeItem(name));
  }

  // On a phone, tabs are wider than the window.
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });

  tellChoice();
  dress(document);
  setInterval(() => tellTimes(document), 15000);
})();
