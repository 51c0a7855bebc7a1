const boxes = [...document.querySelectorAll("input[name=kind]")];
const show = () => {
  const kinds = boxes.filter(box => box.checked).map(box => box.value);
  for (const part of document.querySelectorAll("section[data-kinds]"))
    part.hidden = !part.dataset.kinds.split("|").some(kind => kinds.includes(kind));
};
for (const box of boxes) box.onchange = show;
show();
