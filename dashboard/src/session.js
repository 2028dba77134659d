// The API key: in this tab's sessionStorage and nowhere else, so that it ends with the tab. null: nobody has signed in; "": signed in without
// one, which is enough where TERMINALS_OPEN is set.

const ITEM = "terminals.key";
let current = null;

try {
  current = sessionStorage.getItem(ITEM);
} catch {
  // Storage is forbidden here; then a reload signs out.
}

export function sessionKey() {
  return current;
}

export function sessionBegin(key) {
  current = key;
  try {
    sessionStorage.setItem(ITEM, key);
  } catch {
    // As above.
  }
}

export function sessionEnd() {
  current = null;
  try {
    sessionStorage.removeItem(ITEM);
  } catch {
    // As above.
  }
}
