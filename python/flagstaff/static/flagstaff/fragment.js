// While an action is edited, parts of the page are replaced by those of the server's answer.
"use strict";

const FORM = ".flagstaff-question > form";
const form = document.querySelector(FORM);
// The fields that were edited since the last update.
const edited = new Set();
let [timer, request] = [0, new AbortController()];

const update = async (button, selector) => {
    clearTimeout(timer);
    request.abort();
    request = new AbortController();
    const body = new FormData(form);
    body.set("_edit", button);
    const response = await fetch(location.href, { method: "POST", body, signal: request.signal });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const [old, fresh] = [document, page].map((one) => [...one.querySelectorAll(selector)]);
    // Another page, such as that of a login, has other parts.
    if (!response.ok || old.length !== fresh.length) throw new Error(response.statusText);
    // What is edited has no problems yet, nor have all fields together. Others may still be wrong.
    for (const field of edited) {
        field.classList.remove("errors");
        for (const text of field.querySelectorAll(".errorlist")) text.remove();
    }
    for (const text of form.querySelectorAll("[data-arguments] > .errornote")) text.remove();
    edited.clear();
    old.forEach((part, index) => {
        // What is being typed stays.
        if (!part.contains(document.activeElement)) part.replaceChildren(...fresh[index].childNodes);
    });
};

// The time of an action is one of the person's own clock.
for (const zone of form.querySelectorAll("[data-zone]")) {
    zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? zone.value;
}

form.addEventListener("input", (event) => {
    const field = event.target.closest("[data-arguments] > *");
    if (!field) return;
    edited.add(field);
    clearTimeout(timer);
    // After 300 milliseconds without an edit.
    timer = setTimeout(() => update("preview", "[data-fragment]").catch(() => {}), 300);
});
form.addEventListener("submit", async (event) => {
    const button = event.submitter;
    // If the form is inert, an update has failed: the browser shows what the server answers.
    if (button?.name !== "_edit" || form.inert) return;
    event.preventDefault();
    document.activeElement.blur();
    form.inert = true;
    await update(button.value, FORM).catch(() => form.requestSubmit(button));
    form.inert = false;
    form.querySelector("[autofocus]")?.focus();
});
