// Shows what the arguments of an action would change, while they are edited. The server answers
// with the page as after a button of the form, and each part marked in it replaces the old one.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const PAUSE = 300; // milliseconds without an edit
    const form = document.querySelector("[data-arguments]").closest("form");
    const parts = (page) => [...page.querySelectorAll("[data-fragment]")];
    let timer = 0;
    let request = new AbortController();

    const stop = () => {
        clearTimeout(timer);
        request.abort();
    };
    const ask = async (button) => {
        request = new AbortController();
        const body = new FormData(form);
        body.set("_edit", button);
        const response = await fetch(location.href, { method: "POST", body, signal: request.signal });
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        // Another page, such as that of a login, has no arguments.
        return response.ok && page.querySelector("[data-arguments]") ? page : null;
    };
    const refresh = async () => {
        const page = await ask("preview");
        const [old, fresh] = [parts(document), page ? parts(page) : []];
        if (old.length === fresh.length) {
            old.forEach((part, index) => {
                // What is being typed stays.
                if (!part.contains(document.activeElement)) {
                    part.className = fresh[index].className;
                    part.replaceChildren(...fresh[index].childNodes);
                }
            });
        }
    };
    const press = async (button) => {
        // What is typed or pressed now would be lost.
        form.inert = true;
        const page = await ask(button.value).catch(() => null);
        form.inert = false;
        if (page) {
            form.replaceChildren(...page.querySelector("[data-arguments]").closest("form").childNodes);
            form.querySelector("[autofocus]")?.focus();
        } else {
            // The browser shows what the server answers.
            form.removeEventListener("submit", onSubmit);
            button.click();
        }
    };
    const onSubmit = (event) => {
        stop();
        if (event.submitter?.name === "_edit") {
            event.preventDefault();
            press(event.submitter);
        }
    };
    const onEdit = (event) => {
        if (event.target.closest("[data-arguments]")) {
            stop();
            timer = setTimeout(() => refresh().catch(() => {}), PAUSE);
        }
    };
    form.addEventListener("submit", onSubmit);
    form.addEventListener("input", onEdit);
    form.addEventListener("change", onEdit);
});
