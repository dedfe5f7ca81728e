/* Linked into each program, and found before libxml2's own: Debian's calls itself version 2.9 though it has what 2.12
   has, and COBOL's library would have each program begin with a warning of that. */
void xmlCheckVersion(int version) { (void)version; }
