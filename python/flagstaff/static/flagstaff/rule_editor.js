// The buttons of a rule editor, without a request: add, remove and move rules and conditions.
// The server does the same without this script.
"use strict";

(() => {
    const ROWS = "[data-flagstaff-row]";
    let added = 0;

    document.addEventListener("click", (event) => {
        const button = event.target.closest(".flagstaff-rule-editor button[name='_rule_edit']");
        const editor = button?.closest(".flagstaff-rule-editor");
        const [word] = button?.value.split(":") ?? [""];
        if (editor && word in edits) {
            event.preventDefault();
            edits[word](button, editor);
            renumber(editor);
            // Another script counts the users that the form's values affect.
            editor.dispatchEvent(new Event("change", { bubbles: true }));
        }
    });

    const edits = {
        "add-rule": (_button, editor) => add(editor, "rule", listIn(editor, "rule")),
        "add-condition": (button, editor) => addCondition(button, editor, "condition"),
        "add-segment": (button, editor) => addCondition(button, editor, "segment"),
        remove,
        up: (button) => move(button, (row) => row.previousElementSibling?.before(row)),
        down: (button) => move(button, (row) => row.nextElementSibling?.after(row)),
    };

    function listIn(element, kind) {
        return element.querySelector(`[data-flagstaff-list="${kind}"]`);
    }

    function addCondition(button, editor, template) {
        const rule = button.closest('[data-flagstaff-row="rule"]');
        add(editor, template, listIn(rule, "condition"), rule.dataset.flagstaffToken);
    }

    function add(editor, template, list, rule) {
        added += 1;
        const token = `n${added}`;
        const source = editor.querySelector(`template[data-flagstaff-new="${template}"]`);
        const row = source.content.firstElementChild.cloneNode(true);
        for (const element of [row, ...row.querySelectorAll("*")]) {
            for (const attribute of element.attributes) {
                const text = attribute.value.replaceAll("__rule__", rule ?? token);
                attribute.value = text.replaceAll("__condition__", token);
            }
        }
        list.append(row);
        const input = ".flagstaff-condition :is(input:not([type]), [type='text'], select)";
        (row.querySelector(input) ?? row.querySelector("[type='text'], select")).focus();
    }

    function remove(button, editor) {
        const row = button.closest(ROWS);
        const near = row.nextElementSibling ?? row.previousElementSibling;
        const others = near ?? row.parentElement.nextElementSibling;
        row.remove();
        (others?.querySelector("button") ?? editor.querySelector("[value='add-rule']"))?.focus();
    }

    function move(button, step) {
        step(button.closest(ROWS));
        button.focus();
    }

    // Rows keep their names: the server reads them in the order of the page.
    function renumber(editor) {
        const rules = editor.querySelectorAll('[data-flagstaff-row="rule"]');
        rules.forEach((rule, index) => {
            write(rule, { rule: index + 1 }, rule);
            const conditions = rule.querySelectorAll('[data-flagstaff-row="condition"]');
            conditions.forEach((condition, number) => {
                write(condition, { rule: index + 1, condition: number + 1 }, condition);
            });
        });
        limit(editor);
    }

    function write(row, numbers, owner) {
        for (const element of [row, ...row.querySelectorAll("[data-flagstaff-label]")]) {
            const pattern = element.dataset.flagstaffLabel;
            if (pattern && element.closest(ROWS) === owner) {
                element.setAttribute("aria-label", filled(pattern, numbers));
            }
        }
        const heading = row.querySelector("[data-flagstaff-text]");
        if (heading) {
            heading.textContent = filled(heading.dataset.flagstaffText, numbers);
        }
    }

    function filled(pattern, numbers) {
        return pattern.replace(/\{(rule|condition)\}/g, (_all, name) => numbers[name]);
    }

    function limit(editor) {
        const isFull = editor.querySelectorAll(ROWS).length > Number(editor.dataset.flagstaffMost) - 2;
        for (const button of editor.querySelectorAll("button[value^='add-']")) {
            button.disabled = isFull;
        }
    }
})();
