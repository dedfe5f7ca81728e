#include <boost/asio.hpp>
#include <boost/thread.hpp>
#include <iostream>

using boost::asio::ip::tcp;

int main() {
    boost::asio::io_context context;
    tcp::acceptor acceptor(context, {boost::asio::ip::address_v4::loopback(), 0});
    boost::thread client([port = acceptor.local_endpoint().port()] {
        boost::asio::io_context own;
        tcp::socket socket(own);
        socket.connect({boost::asio::ip::address_v4::loopback(), port});
        boost::asio::write(socket, boost::asio::buffer(std::string("hello\n")));
    });
    tcp::socket socket = acceptor.accept();
    boost::asio::streambuf buffer;
    boost::asio::read_until(socket, buffer, '\n');
    std::string line;
    std::getline(std::istream(&buffer), line);
    client.join();
    std::cout << "the server has heard: " << line << '\n';
}
