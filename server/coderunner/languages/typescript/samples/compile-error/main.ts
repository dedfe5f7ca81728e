const count: number = "seven";
console.log(count);
