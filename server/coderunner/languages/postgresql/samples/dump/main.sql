SET client_min_messages = warning;
CREATE TABLE public.things (id integer NOT NULL, name text);
ALTER TABLE public.things OWNER TO postgres;
COPY public.things (id, name) FROM stdin;
1	one
2	two
\.
\t on
SELECT sum(id) FROM public.things;
