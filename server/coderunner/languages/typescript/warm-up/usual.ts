// What short programs are made of, so that the compiler has been through it.
import * as fs from "fs";
import { createInterface } from "readline";

interface Shape {
  readonly name: string;
  area(): number;
}

type Pair<A, B = A> = { first: A; second: B };

enum Colour {
  Red,
  Green,
}

abstract class Named implements Shape {
  constructor(readonly name: string) {}
  abstract area(): number;
}

class Circle extends Named {
  #radius: number;
  constructor(radius: number) {
    super("circle");
    this.#radius = radius;
  }
  area(): number {
    return Math.PI * this.#radius ** 2;
  }
}

function swap<A, B>({ first, second }: Pair<A, B>): Pair<B, A> {
  return { first: second, second: first };
}

async function* lines(): AsyncGenerator<string> {
  for await (const line of createInterface({ input: process.stdin })) yield line.trim();
}

async function main(): Promise<void> {
  const counts = new Map<string, number>();
  for await (const line of lines()) counts.set(line, (counts.get(line) ?? 0) + 1);
  const sorted = [...counts].sort(([, a], [, b]) => b - a).map(([word, count]) => `${word}: ${count}`);
  console.log(sorted.join("\n"), Colour[Colour.Green], swap({ first: 1, second: "two" }).first.length);
  const shapes: Shape[] = [new Circle(2)];
  try {
    console.log(shapes.reduce((sum, shape) => sum + shape.area(), 0).toFixed(3), fs.existsSync("x"));
  } catch (error) {
    if (error instanceof Error) console.error(error.message);
    process.exit(1);
  }
}

main();
