"""Makes dumps of databases as people find them: as large as the well-known samples, and with the same kinds of
statements.  Each ends with queries whose results `SAYS` has."""

from __future__ import annotations

ROWS = 16_000  # of the largest table: some 2 MB of text
MANY = 1_000  # rows of one INSERT
BLOB = bytes(range(256)) * 40  # a picture's
SAYS = ("16000", "1000", "10240", "2500.50", "31", "Straße 7")
"""Rows of `rental`, of the view, bytes of the picture, what the function and the trigger made, and a text."""


def _customers() -> list[str]:
    return [f"({n}, 'Name {n}', 'Straße {n % 97}', {n % 2})" for n in range(1, 1001)]


def _rentals() -> list[str]:
    note = "Returned in good order, with the box and the leaflet of the first edition"
    return [
        f"({n}, {n % 1000 + 1}, '2005-{n % 12 + 1:02}-{n % 28 + 1:02} 10:00:00', {n % 50}.99, '{note} {n}')"
        for n in range(1, ROWS + 1)
    ]


def _inserts(table: str, rows: list[str], many: int = MANY) -> str:
    parts = (",\n".join(rows[at : at + many]) for at in range(0, len(rows), many))
    return "".join(f"INSERT INTO {table} VALUES\n{part};\n" for part in parts)


_TABLES = """
CREATE TABLE customer (
  customer_id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(80) NOT NULL, street VARCHAR(80), active INTEGER NOT NULL
);
CREATE TABLE rental (
  rental_id INTEGER NOT NULL PRIMARY KEY, customer_id INTEGER NOT NULL, rented TIMESTAMP NOT NULL,
  amount NUMERIC(8,2) NOT NULL DEFAULT 0, note TEXT,
  CONSTRAINT fk_rental FOREIGN KEY (customer_id) REFERENCES customer (customer_id) ON DELETE RESTRICT ON UPDATE CASCADE
);
CREATE INDEX idx_rental ON rental (customer_id, rented);
CREATE TABLE history (customer_id INTEGER, text VARCHAR(80));
CREATE VIEW customer_list AS
  SELECT c.customer_id, c.name, count(*) AS rentals, sum(r.amount) AS total
  FROM customer c JOIN rental r ON r.customer_id = c.customer_id GROUP BY c.customer_id, c.name;
"""

_QUERIES = """
SELECT count(*) FROM rental;
SELECT count(*) FROM customer_list WHERE rentals = 16;
SELECT length(picture) FROM staff;
"""


def mariadb() -> str:
    """As mysqldump and MySQL Workbench write them."""
    tables = _TABLES.replace(
        "active INTEGER NOT NULL\n)",
        "active INTEGER NOT NULL, kind ENUM('usual','rare') DEFAULT 'usual', made YEAR DEFAULT NULL,\n"
        "  changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,\n"
        "  FULLTEXT KEY idx_name (name)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci",
    )
    customers = _inserts("customer (customer_id, name, street, active)", _customers())
    return f"""-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='TRADITIONAL' */;
DROP SCHEMA IF EXISTS rentals;
CREATE SCHEMA rentals /*!40100 DEFAULT CHARACTER SET utf8mb4 */;
USE rentals;
{tables}
CREATE TABLE `staff` (
  `staff_id` tinyint unsigned NOT NULL AUTO_INCREMENT, `place` geometry NOT NULL, `picture` longblob,
  `rights` set('read','write') DEFAULT NULL, PRIMARY KEY (`staff_id`), SPATIAL KEY `idx_place` (`place`)
) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb3;
LOCK TABLES `staff` WRITE;
/*!40000 ALTER TABLE `staff` DISABLE KEYS */;
INSERT INTO `staff` VALUES (1,0x0000000001010000003E0A325D63345CC0761FDB8D99D94840,0x{BLOB.hex()},'read,write');
/*!40000 ALTER TABLE `staff` ENABLE KEYS */;
UNLOCK TABLES;
SET AUTOCOMMIT=0;
{customers}COMMIT;
{_inserts("rental", _rentals())}COMMIT;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER `moved` AFTER UPDATE ON `customer` FOR EACH ROW BEGIN
  IF old.street != new.street THEN
    INSERT INTO history VALUES (new.customer_id, concat('to ', new.street));
  END IF;
END */;;
CREATE DEFINER=`root`@`localhost` PROCEDURE `rentals_of`(IN who INT, OUT n INT)
    READS SQL DATA
BEGIN
  DECLARE EXIT HANDLER FOR SQLEXCEPTION ROLLBACK;
  SELECT count(*) INTO n FROM rental WHERE customer_id = who;
END ;;
CREATE FUNCTION `balance`(who INT) RETURNS decimal(8,2) DETERMINISTIC
BEGIN
  DECLARE owed DECIMAL(8,2) DEFAULT 0;
  SELECT sum(amount) INTO owed FROM rental WHERE customer_id = who;
  RETURN owed;
END ;;
DELIMITER ;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`localhost` SQL SECURITY INVOKER */
/*!50001 VIEW `rare` AS select `customer`.`name` AS `name` from `customer` where (`customer`.`kind` = 'rare') */;
/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
{_QUERIES}
SELECT balance(1) + 2500.50 - balance(1) AS balance;
UPDATE customer SET street = 'Straße 7' WHERE customer_id <= 31;
CALL rentals_of(5, @n);
SELECT count(*) + 1 FROM history WHERE @n = 16;
SELECT text FROM history LIMIT 1;
"""


def sqlite() -> str:
    """As its client's `.dump` writes them."""
    customers = _inserts("customer", _customers(), 1)
    return f"""PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
{_TABLES}
CREATE TABLE staff (staff_id INTEGER PRIMARY KEY AUTOINCREMENT, picture BLOB, total AS (staff_id * 2) STORED);
CREATE VIRTUAL TABLE film_text USING fts5(title, description);
CREATE TRIGGER moved AFTER UPDATE ON customer WHEN old.street <> new.street BEGIN
  INSERT INTO history VALUES (new.customer_id, 'to ' || new.street);
END;
INSERT INTO staff VALUES(1,X'{BLOB.hex()}');
INSERT INTO film_text VALUES('ACADEMY','An epic drama');
{customers}{_inserts("rental", _rentals(), 1)}
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('staff',1);
COMMIT;
PRAGMA foreign_keys=ON;
PRAGMA foreign_key_check;
{_QUERIES}
SELECT printf('%.2f', 2500.5) AS total FROM film_text WHERE film_text MATCH 'drama';
UPDATE customer SET street = 'Straße 7' WHERE customer_id <= 31;
SELECT count(*) + 1 FROM history;
SELECT text FROM history LIMIT 1;
"""


def postgresql() -> str:
    """As pg_dump writes them, of a server of another country."""
    rows = (row[1:-1].replace("'", "").replace(", ", "\t") for row in _rentals())
    rentals = "\n".join(row.replace("order\t", "order, ") for row in rows)
    return f"""--
-- PostgreSQL database dump
--
SET statement_timeout = 0;
SET lock_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET lc_numeric = 'de_DE.UTF-8';
SET lc_monetary = 'en_US.UTF-8';
SET search_path = public;
DROP DATABASE IF EXISTS rentals;
CREATE ROLE reader;
CREATE ROLE owner LOGIN PASSWORD 'md5c3d4';
CREATE DATABASE rentals WITH TEMPLATE = template0 ENCODING = 'UTF8' LC_COLLATE = 'fr_FR.UTF-8' LC_CTYPE = 'en_US.UTF-8';
ALTER DATABASE rentals OWNER TO postgres;
\\connect rentals
CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;
COMMENT ON EXTENSION plpgsql IS 'PL/pgSQL procedural language';
SET default_tablespace = '';
SET default_table_access_method = heap;
{_TABLES}
CREATE TYPE public.rating AS ENUM ('G', 'PG-13');
CREATE DOMAIN public.year AS integer CONSTRAINT year_check CHECK (VALUE >= 1901 AND VALUE <= 2155);
CREATE SEQUENCE public.staff_id_seq START WITH 1 INCREMENT BY 1 NO MINVALUE NO MAXVALUE CACHE 1;
CREATE TABLE public.staff (
  staff_id integer DEFAULT nextval('public.staff_id_seq'::regclass) NOT NULL, rating public.rating DEFAULT 'G',
  picture bytea, features text[], full_text tsvector
);
ALTER TABLE public.staff OWNER TO postgres;
ALTER TABLE ONLY public.staff ADD CONSTRAINT staff_pkey PRIMARY KEY (staff_id);
CREATE TABLE public.payment (payment_id integer, paid timestamp with time zone) PARTITION BY RANGE (paid);
CREATE TABLE public.payment_2005 PARTITION OF public.payment FOR VALUES FROM ('2005-01-01') TO ('2006-01-01');
CREATE FUNCTION public.balance(who integer) RETURNS numeric
    LANGUAGE plpgsql
    AS $$
DECLARE
  owed numeric(8,2);
BEGIN
  SELECT sum(amount) INTO owed FROM public.rental WHERE customer_id = who;
  RETURN owed;
END
$$;
CREATE FUNCTION public.moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.history VALUES (new.customer_id, 'to ' || new.street);
  RETURN NULL;
END $$;
CREATE AGGREGATE public.group_concat(text) (SFUNC = textcat, STYPE = text, INITCOND = '');
INSERT INTO public.staff VALUES (1, 'PG-13', '\\x{BLOB.hex()}', '{{Trailers}}', to_tsvector('an epic drama'));
SELECT pg_catalog.setval('public.staff_id_seq', 2, true);
ALTER TABLE customer DISABLE TRIGGER ALL;
{_inserts("customer", _customers())}ALTER TABLE customer ENABLE TRIGGER ALL;
COPY public.rental (rental_id, customer_id, rented, amount, note) FROM stdin;
{rentals}
\\.
CREATE TRIGGER moved AFTER UPDATE OF street ON public.customer FOR EACH ROW EXECUTE PROCEDURE public.moved();
CREATE INDEX full_text_idx ON public.staff USING gin (full_text);
CREATE MATERIALIZED VIEW public.totals AS SELECT customer_id, sum(amount) AS total FROM public.rental GROUP BY 1 WITH NO DATA;
REFRESH MATERIALIZED VIEW public.totals;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO postgres;
GRANT SELECT ON TABLE public.rental TO reader;
ANALYZE public.rental;
{_QUERIES}
SELECT public.balance(1) + 2500.50 - public.balance(1) AS balance;
UPDATE customer SET street = 'Straße 7' WHERE customer_id <= 31;
SELECT count(*) FROM history;
SELECT text FROM history LIMIT 1;
"""
