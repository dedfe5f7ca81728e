import { Circle } from "./shapes/circle";
import type { Shape } from "./shapes/shape";

const shapes: Shape[] = [new Circle(2)];
for (const shape of shapes) console.log(shape.area().toFixed(3));
