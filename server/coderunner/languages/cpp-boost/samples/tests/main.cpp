#define BOOST_TEST_MODULE arithmetic
#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_CASE(holds) { BOOST_TEST(2 + 2 == 4); }

BOOST_AUTO_TEST_CASE(does_not_hold) { BOOST_TEST(2 * 2 == 5); }
