import express, { Request, Response } from "express";
import _ from "lodash";
import { z } from "zod";

const shape = z.object({ radius: z.number().positive() });
const app = express();
app.get("/area/:radius", (request: Request, response: Response) => {
  const { radius } = shape.parse({ radius: Number(request.params.radius) });
  response.json(_.round(Math.PI * radius ** 2, 3));
});
const server = app.listen(0, "localhost", async () => {
  const address = server.address();
  const port = address && typeof address === "object" ? address.port : 0;
  const answer = await fetch(`http://localhost:${port}/area/2`);
  console.log(answer.status, await answer.json());
  server.close();
});
