// "/" goes to the search of the page, and "?" opens the list of keys.
"use strict";

{
    const texts = document.currentScript.dataset;
    const searches = "#searchbar, #flagstaff-search, #content input[type=search]";

    const openList = () => {
        const dialog = document.createElement("dialog");
        dialog.className = "flagstaff-keys";
        dialog.setAttribute("aria-label", texts.title);
        const list = document.createElement("dl");
        for (const [key, text] of [["/", texts.search], ["?", texts.list], ["Esc", texts.close]]) {
            const name = document.createElement("dt");
            name.append(Object.assign(document.createElement("kbd"), {textContent: key}));
            list.append(name, Object.assign(document.createElement("dd"), {textContent: text}));
        }
        dialog.append(list);
        dialog.addEventListener("close", () => dialog.remove());
        dialog.addEventListener("click", () => dialog.close());
        document.body.append(dialog);
        dialog.showModal();
    };

    document.addEventListener("keydown", (event) => {
        const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
        if (isTyping || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) {
            return;
        }
        if (event.key === "?" && !document.querySelector("dialog[open]")) {
            event.preventDefault();
            openList();
        } else if (event.key === "/") {
            const search = document.querySelector(searches);
            if (search) {
                event.preventDefault();
                search.focus();
                search.select();
            }
        }
    });
}
