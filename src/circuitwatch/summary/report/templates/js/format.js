// Numbers as people write them; units.py does the same.

export function short(count) {
  if (count === null || count === undefined) return "";
  const units = [
    [1e12, "T"],
    [1e9, "B"],
    [1e6, "M"],
    [1e3, "k"],
  ];
  for (const [size, letter] of units)
    if (count >= size * 0.9995) return `${+(count / size).toPrecision(3)}${letter}`;
  return String(+count.toPrecision(3));
}

// At most two significant decimals, and a minus sign instead of a hyphen.
export function value(number) {
  if (number === null || number === undefined) return "–";
  const size = Math.abs(number);
  let text = String(+number.toPrecision(2));
  if (size >= 100) text = number.toFixed(0);
  else if (size >= 0.095 || !size) text = (size ? number : 0).toFixed(2);
  else if (size < 1e-4) text = number.toExponential(1).replace(".0e", "e");
  return text.replaceAll("-", "−");
}

// Two decimals, whatever is lost of a small number: for what stands in a square.
export function inSquare(number) {
  const text = number.toFixed(2);
  return (+text === 0 ? "0.00" : text).replace("-", "−");
}

// As spreadsheets.py does it: a text that would be taken for a formula gets an apostrophe.
export function csvCell(content) {
  let text = String(content);
  const formula = /^'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text);
  if (formula && text !== "-" && (isNaN(text) || !text.trim())) text = "'" + text;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
