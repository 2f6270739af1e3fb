// The buttons of a rule editor, without a request: add, remove and move rules and conditions.
// The server does the same without this script.
"use strict";

(() => {
    const ROWS = "[data-flagstaff-row]";
    const RULE = "[data-flagstaff-row='rule']";
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

    // A bool has a choice for its values, and an attribute may have values to choose from.
    document.addEventListener("change", (event) => {
        const row = event.target.closest(".flagstaff-rule-editor .flagstaff-condition");
        if (row && event.target.matches(".flagstaff-attribute, .flagstaff-operator")) {
            adapt(row);
        }
    });

    // Another script sends the form while it is edited, and returns the marks of its rows.
    document.addEventListener("flagstaff:impact", (event) => {
        for (const row of document.querySelectorAll(".flagstaff-condition")) {
            mark(row, event.detail.marks?.[row.dataset.flagstaffToken]);
        }
    });

    const edits = {
        "add-rule": addRule,
        "add-value": addValue,
        "add-condition": (button, editor) => add(editor, "condition", button.closest(RULE)),
        "add-segment": (button, editor) => add(editor, "segment", button.closest(RULE)),
        remove,
        up: (button) => move(button, (row) => row.previousElementSibling?.before(row)),
        down: (button) => move(button, (row) => row.nextElementSibling?.after(row)),
    };

    function addRule(button, editor) {
        const [, beginning = ""] = button.value.split(":");
        const rule = add(editor, "rule");
        const [, attribute] = beginning.split("=");
        if (beginning === "others") {
            rule.querySelector(".flagstaff-conditions").replaceChildren();
            rule.querySelector(".flagstaff-rule-value").focus();
        } else if (beginning === "segment") {
            rule.querySelector(".flagstaff-conditions").replaceChildren();
            add(editor, "segment", rule);
        } else if (attribute) {
            rule.querySelector(".flagstaff-attribute").value = attribute;
            adapt(rule.querySelector(".flagstaff-condition"));
            rule.querySelector(".flagstaff-values").focus();
        }
    }

    function addValue(button) {
        const [, , ...value] = button.value.split(":");
        const input = button.closest(".flagstaff-condition").querySelector(".flagstaff-values");
        const typed = input.value.trim().replace(/,+$/, "");
        input.value = [...(typed ? [typed] : []), value.join(":")].join(", ");
        input.focus();
    }

    function adapt(row) {
        const editor = row.closest(".flagstaff-rule-editor");
        const name = row.querySelector(".flagstaff-attribute").value;
        const operator = row.querySelector(".flagstaff-operator").value;
        const known = [...editor.querySelectorAll("datalist option")].find((one) => one.value === name);
        const isBool = known?.hasAttribute("data-flagstaff-bool") && /^(in$|isnull)/.test(operator);
        replaceValues(row.querySelector(".flagstaff-values"), editor, isBool ? "bool" : "values");
        row.querySelector(".flagstaff-samples")?.remove();
        const samples = [...editor.querySelectorAll("[data-flagstaff-new='samples']")].find(
            (one) => one.dataset.flagstaffAttribute === name && operator === "in",
        );
        if (samples) {
            const added = samples.content.firstElementChild.cloneNode(true);
            for (const button of added.querySelectorAll("button")) {
                button.value = button.value.replace("__row__", row.dataset.flagstaffToken);
            }
            row.querySelector(".flagstaff-values").after(added);
        }
    }

    function replaceValues(input, editor, template) {
        const other = copy(editor, template);
        if (other.tagName === input.tagName) {
            return;
        }
        for (const attribute of ["name", "aria-label", "data-flagstaff-label", "aria-describedby"]) {
            other.setAttribute(attribute, input.getAttribute(attribute));
        }
        const text = input.value.trim();
        if (other.options && ![...other.options].some((option) => option.value === text)) {
            other.add(new Option(`“${text}”`, text));
        }
        other.value = text;
        input.replaceWith(other);
    }

    function mark(row, found) {
        const output = row.querySelector(".flagstaff-mark");
        const input = row.querySelector(".flagstaff-values");
        // The problem of a submitted row stays until the form is submitted again.
        if (!output || row.querySelector(".flagstaff-row-problem")) {
            return;
        }
        const text = found?.text ?? "";
        // A screen reader reads what changes.
        if (output.textContent !== text) {
            output.textContent = text;
        }
        output.classList.toggle("flagstaff-problem", Boolean(found?.is_error));
        input.removeAttribute("aria-invalid");
        if (found?.is_error) {
            input.setAttribute("aria-invalid", "true");
        }
    }

    // Adds a rule, or a condition to a rule.
    function add(editor, template, rule) {
        added += 1;
        const token = `n${added}`;
        const row = copy(editor, template);
        for (const element of [row, ...row.querySelectorAll("*")]) {
            for (const attribute of element.attributes) {
                const text = attribute.value.replaceAll("__rule__", rule?.dataset.flagstaffToken ?? token);
                attribute.value = text.replaceAll("__condition__", token);
            }
        }
        const list = (rule ?? editor).querySelector(rule ? ".flagstaff-conditions" : ".flagstaff-rule-list");
        list.append(row);
        keepLast(list);
        row.querySelector(".flagstaff-attribute, .flagstaff-segment").focus();
        return row;
    }

    // The rule of a value for all others, which has no conditions, stays the last one.
    function keepLast(list) {
        const others = [...list.children].find((rule) => rule.querySelector(".flagstaff-conditions:empty"));
        if (others?.querySelector(".flagstaff-rule-value")) {
            list.append(others);
        }
    }

    function copy(editor, template) {
        const source = editor.querySelector(`template[data-flagstaff-new="${template}"]`);
        return source.content.firstElementChild.cloneNode(true);
    }

    function remove(button, editor) {
        const row = button.closest(ROWS);
        const near = row.nextElementSibling ?? row.previousElementSibling;
        const others = near ?? row.parentElement.nextElementSibling;
        row.remove();
        (others?.querySelector("button") ?? editor.querySelector("[value^='add-']"))?.focus();
    }

    function move(button, step) {
        step(button.closest(ROWS));
        button.focus();
    }

    // Rows keep their names: the server reads them in the order of the page.
    function renumber(editor) {
        const rules = editor.querySelectorAll(RULE);
        rules.forEach((rule, index) => {
            write(rule, { rule: index + 1 });
            const conditions = rule.querySelectorAll('[data-flagstaff-row="condition"]');
            conditions.forEach((condition, number) => {
                write(condition, { rule: index + 1, condition: number + 1 });
            });
        });
        const isFull = editor.querySelectorAll(ROWS).length > Number(editor.dataset.flagstaffMost) - 2;
        for (const button of editor.querySelectorAll("button[value^='add-']")) {
            button.disabled = isFull;
        }
    }

    function write(row, numbers) {
        for (const element of [row, ...row.querySelectorAll("[data-flagstaff-label]")]) {
            const pattern = element.dataset.flagstaffLabel;
            if (pattern && element.closest(ROWS) === row) {
                const label = pattern.replace(/\{(rule|condition)\}/g, (_all, name) => numbers[name]);
                element.setAttribute("aria-label", label);
            }
        }
        for (const heading of row.querySelectorAll(".flagstaff-rule-number")) {
            heading.textContent = row.getAttribute("aria-label");
        }
    }
})();
