#include <curl/curl.h>
#include <gmp.h>
#include <ncurses.h>
#include <openssl/sha.h>
#include <readline/readline.h>
#include <stdio.h>
#include <zlib.h>

int main(void) {
  mpz_t big;
  mpz_init(big);
  mpz_ui_pow_ui(big, 2, 70);
  gmp_printf("%Zd\n", big);
  mpz_clear(big);

  printf("%08lx\n", crc32(0, (const Bytef *)"abc", 3));

  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256((const unsigned char *)"abc", 3, digest);
  printf("%02x%02x\n", digest[0], digest[1]);

  printf("%.7s %d\n", curses_version(), rl_readline_version >= 0x0800);

  char *escaped = curl_easy_escape(NULL, "a b", 0);
  puts(escaped);
  curl_free(escaped);
}
