const number: number = "text";
console.log(undeclared, number);
