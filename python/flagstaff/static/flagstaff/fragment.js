// Shows what the arguments of an action would change, while they are edited. The server answers
// with the page as after a button of the form, and each part marked in it replaces the old one.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
    const PAUSE = 300; // milliseconds without an edit
    const edited = document.querySelector("[data-arguments]");
    const parts = (page) => [...page.querySelectorAll("[data-fragment]")];
    let timer = 0;
    let request = new AbortController();

    const refresh = async () => {
        request.abort();
        request = new AbortController();
        const body = new FormData(edited.closest("form"));
        body.set("_rule_edit", "preview");
        const response = await fetch(location.href, { method: "POST", body, signal: request.signal });
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const [old, fresh] = [parts(document), parts(page)];
        // Another page, such as that of a login, has other parts.
        if (response.ok && old.length === fresh.length) {
            old.forEach((part, index) => {
                part.className = fresh[index].className;
                part.replaceChildren(...fresh[index].childNodes);
            });
        }
    };
    const later = () => {
        clearTimeout(timer);
        timer = setTimeout(() => refresh().catch(() => {}), PAUSE);
    };
    // The buttons of the editor change rows without an input.
    for (const event of ["input", "change"]) {
        edited.addEventListener(event, later);
    }
});
