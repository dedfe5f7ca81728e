function first<T>(list: T[]): T {
  if (list.length === 0) throw new RangeError("the list is empty");
  return list[0];
}

console.log("before");
console.log(first([]));
