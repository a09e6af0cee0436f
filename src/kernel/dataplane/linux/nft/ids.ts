/** Numbers that tell the new sets and maps of one transaction apart. */

let last = 0;

export function nextId(): number {
  return last = last % 0x7fffffff + 1;
}
