// Copy buttons: they show only where there is a script to serve them. A new token is not kept for the
// way back.
"use strict";

addEventListener("pagehide", () => {
  for (const secret of document.querySelectorAll("textarea.secret")) secret.remove();
});

for (const box of document.querySelectorAll("[data-copy]")) {
  const source = box.querySelector("[data-copied]");
  const button = box.querySelector("button");
  const said = box.querySelector("[role=status]");
  const text = () => source.value ?? source.textContent;

  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      said.textContent = "Copied.";
    } catch {
      // Over plain http a browser has no clipboard to offer: one keystroke is left to do.
      source.focus();
      getSelection().selectAllChildren(source);
      source.select?.();
      said.textContent = "Selected: now copy it with your keyboard.";
    }
  });
}
