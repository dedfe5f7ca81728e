#include <boost/algorithm/string.hpp>
#include <boost/filesystem.hpp>
#include <boost/json.hpp>
#include <boost/multiprecision/cpp_int.hpp>
#include <boost/program_options.hpp>
#include <iostream>

namespace options = boost::program_options;

int main(int argc, char *argv[]) {
    options::options_description known("Options");
    known.add_options()("times", options::value<int>()->default_value(1))("text", options::value<std::string>());
    options::positional_options_description position;
    position.add("text", 1);
    options::variables_map given;
    options::store(options::command_line_parser(argc, argv).options(known).positional(position).run(), given);

    std::vector<std::string> words;
    boost::split(words, given["text"].as<std::string>(), boost::is_space());
    std::cout << given["times"].as<int>() << " x " << boost::join(words, ", ") << '\n';

    boost::multiprecision::cpp_int product = 1;
    for (int number = 2; number <= 100; ++number) product *= number;
    std::cout << product << '\n';

    boost::filesystem::path path = "/home/ada/notes.txt";
    std::cout << path.filename().string() << ' ' << boost::json::serialize(boost::json::object{{"a", {1, 2}}}) << '\n';
}
