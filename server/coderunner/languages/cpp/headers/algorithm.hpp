#include <iostream>
#include <string>
#include <vector>
#include <algorithm>
