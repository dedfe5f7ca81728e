const numbers = [3, 1, 2];
console.log(String(numbers.toSorted()));
console.log([...new Set(numbers).union(new Set([4]))].toSorted().join());
console.log(Object.keys(Object.groupBy(numbers, (one) => (one % 2 ? "odd" : "even"))).join());
console.log(numbers.toSorted().values().map((one) => one * 2).take(2).toArray().join());
