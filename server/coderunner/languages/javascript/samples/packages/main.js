const _ = require("lodash");
const chalk = require("chalk");
const dayjs = require("dayjs");
const { BigNumber } = require("bignumber.js");
const { v5: name } = require("uuid");

console.log(_.chunk([1, 2, 3, 4, 5], 2).length, dayjs("2026-02-28").add(1, "day").format("D MMMM"));
console.log(chalk.reset("plain").includes("plain"), new BigNumber(0.1).plus(0.2).toString(), name("x", name.URL).length);
