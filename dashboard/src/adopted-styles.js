// xterm.js writes its sizes and colours into <style> elements. The page's policy forbids inline styles that it does not know, and a constructed
// style sheet (CSSOM §6.2) does the same without being one: so whoever asks the document for a <style> gets an element that feeds such a sheet.

/** From here on, in this document. Nothing else in the page makes a <style>. */
export function adoptStyles() {
  if (Object.hasOwn(document, "createElement")) {
    return;
  }
  const create = Document.prototype.createElement;
  document.createElement = (name, options) => {
    if (name !== "style") {
      return create.call(document, name, options);
    }
    const element = create.call(document, "template");
    const sheet = new CSSStyleSheet();
    document.adoptedStyleSheets.push(sheet);
    Object.defineProperty(element, "textContent", { set: (text) => sheet.replaceSync(text) });
    element.remove = () => {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((one) => one !== sheet);
      Element.prototype.remove.call(element);
    };
    return element;
  };
}
