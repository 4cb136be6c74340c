"""The way to Google, as a proxy that answers for all of it: ends TLS with one certificate and passes what is in it on.

google.py PORT SERVER_PORT CERTIFICATE KEY
"""
import socket, ssl, sys, threading

port, server, certificate, key = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate, key)


def passed(source, to):
    try:
        while data := source.recv(65536):
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def talk(client):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = client.recv(1)
        if not byte:
            return
        head += byte
    if not head.startswith(b"CONNECT "):
        return
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    try:
        client = tls.wrap_socket(client, server_side=True)
    except (OSError, ssl.SSLError):
        return
    behind = socket.create_connection(("127.0.0.1", server))
    threading.Thread(target=passed, args=(client, behind), daemon=True).start()
    passed(behind, client)
    client.close()


listener = socket.create_server(("127.0.0.1", port))
while True:
    threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()
