package doctor

// A remedy is what to change, for each who may be the cause.
type remedy int

const (
	none remedy = iota
	buffering
	delaying
	compressing
	headers
	leaving
	version
	lastID
	posting
	host
	crowding
	multiplexing
	silence
	scheme
	address
)

const (
	trust = "fiber.Config{EnableTrustedProxyCheck: true, TrustedProxies: []string{\"<the proxy's address>\"}, ProxyHeader: \"X-Real-IP\"}"
	// nothing of Fiber's own proxy middleware can be set.
	forward = "the proxy middleware sends a response when it is whole: let another proxy forward the endpoint"
)

var remedies = map[remedy]map[string]string{
	buffering: {
		"nginx":   "proxy_buffering off; proxy_http_version 1.1; and no proxy_ignore_headers X-Accel-Buffering; in the endpoint's location",
		"HAProxy": "no http-response wait-for-body for the endpoint",
		"Caddy":   "reverse_proxy … { flush_interval -1 } without response_buffers (formerly buffer_responses)",
		"Fiber":   forward,
	},
	delaying: {
		"nginx":   "tcp_nodelay on; proxy_buffering off;",
		"HAProxy": "option http-no-delay",
		"Caddy":   "reverse_proxy … { flush_interval -1 }",
	},
	compressing: {
		"nginx":   "no text/event-stream in gzip_types",
		"HAProxy": "no text/event-stream in compression type",
		"Caddy":   "no encode for the endpoint's path",
	},
	headers: {
		"nginx":   "no proxy_hide_header Cache-Control; and no expires or add_header Cache-Control in the endpoint's location",
		"HAProxy": "no http-response set-header or del-header Cache-Control for the endpoint",
		"Caddy":   "no header Cache-Control for the endpoint",
	},
	leaving: {
		"nginx":   "proxy_ignore_client_abort off;",
		"HAProxy": "option abortonclose",
	},
	version: {"nginx": "proxy_http_version 1.1; proxy_set_header Connection \"\";"},
	lastID: {
		"nginx":   "no proxy_set_header Last-Event-ID, and no proxy_pass_request_headers off;",
		"HAProxy": "no http-request del-header Last-Event-ID",
		"Caddy":   "no header_up -Last-Event-ID",
	},
	posting: {
		"nginx": "no limit_except GET in the endpoint's location",
		"Fiber": "a csrf middleware before comet.New needs a Next that skips the endpoint",
	},
	host: {
		"nginx":   "proxy_set_header Host $http_host;",
		"HAProxy": "no http-request set-header Host",
		"Caddy":   "reverse_proxy … { header_up Host {host} }",
	},
	crowding: {
		"nginx":   "a larger limit_conn and worker_connections",
		"HAProxy": "a larger maxconn, of the server line too",
	},
	multiplexing: {
		"nginx":   "listen 443 ssl; http2 on; (before 1.25.1: listen 443 ssl http2;)",
		"HAProxy": "bind … ssl crt … alpn h2,http/1.1",
		"Caddy":   "HTTP/2 comes with https",
	},
	silence: {
		"nginx":   "proxy_read_timeout and send_timeout of several heartbeats, such as 60s",
		"HAProxy": "timeout client and timeout server of several heartbeats, such as 60s",
		"Caddy":   "no read_timeout in transport http, or one of several heartbeats",
		"Fiber":   "or a shorter SiteConfig.Heartbeat",
	},
	scheme: {
		"nginx":   "proxy_set_header X-Forwarded-Proto $scheme;",
		"HAProxy": "http-request set-header X-Forwarded-Proto https if { ssl_fc }",
		"Fiber":   trust,
	},
	address: {
		"nginx":   "proxy_set_header X-Real-IP $remote_addr;",
		"HAProxy": "http-request set-header X-Real-IP %[src]",
		"Caddy":   "reverse_proxy … { header_up X-Real-IP {remote_host} }",
		"Fiber":   trust,
	},
}
