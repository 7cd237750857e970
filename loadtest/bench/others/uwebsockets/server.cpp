// The comparison's C++ server: uWebSockets on its own epoll loop. Usage: server echo|paced|scored
#include <cstdio>
#include <memory>
#include <unordered_set>

#include "App.h"
#include "typing.h"

struct Client {
    unsigned count = 0;
    size_t bucket = 0;
    std::unique_ptr<Typing> typing;
};

using Socket = uWS::WebSocket<false, true, Client>;

// A fortieth of all typists has its turn every 25 ms.
static std::unordered_set<Socket *> buckets[40];
static size_t turn, next_bucket;

static void tick(us_timer_t *) {
    for (Socket *socket : buckets[turn++ % 40]) {
        std::string message = socket->getUserData()->typing->tick();
        if (!message.empty()) socket->send(message, uWS::OpCode::BINARY);
    }
}

static void take_keys(Socket *socket, std::string_view message) {
    Client *client = socket->getUserData();
    if (!client->typing) {  // the first message is the text
        client->typing = std::make_unique<Typing>();
        client->typing->target = message;
        client->bucket = next_bucket++ % 40;
        buckets[client->bucket].insert(socket);
    } else if (!client->typing->keys(message)) {
        socket->close();
    }
}

int main(int, char **arguments) {
    const std::string work = arguments[1];
    const std::string answer(100, 'a');
    if (work == "scored") {
        us_timer_t *timer = us_create_timer(reinterpret_cast<us_loop_t *>(uWS::Loop::get()), 0, 0);
        us_timer_set(timer, tick, 25, 25);
    }
    uWS::App()
        .ws<Client>("/ws", {
            .compression = uWS::DISABLED,
            .idleTimeout = 0,
            .sendPingsAutomatically = false,
            .message =
                [&](Socket *socket, std::string_view message, uWS::OpCode code) {
                    if (work == "echo") {
                        socket->send(message, code);
                    } else if (work == "scored") {
                        take_keys(socket, message);
                    } else if (++socket->getUserData()->count % 4 == 0) {
                        socket->send(answer, uWS::OpCode::BINARY);
                    }
                },
            .close = [](Socket *socket, int, std::string_view) { buckets[socket->getUserData()->bucket].erase(socket); },
        })
        .listen("127.0.0.1", 0, [](us_listen_socket_t *listener) {
            if (!listener) return;
            std::printf("ready 127.0.0.1:%d\n", us_socket_local_port(0, reinterpret_cast<us_socket_t *>(listener)));
            std::fflush(stdout);
        })
        .run();
}
