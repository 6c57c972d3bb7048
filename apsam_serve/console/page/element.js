// Parts of the page, made.

/** An element with those properties and children; children that are texts stay texts. */
export function element(name, fields = {}, ...children) {
  const made = Object.assign(document.createElement(name), fields);
  made.append(...children);
  return made;
}
