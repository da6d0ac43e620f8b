#!/usr/bin/env bash
# One answer, one stream, and the receipt: nothing but curl. First: eval "$(gateway env)"
set -euo pipefail
: "${OPENAI_BASE_URL:?run: eval \"\$(gateway env)\"}" "${OPENAI_API_KEY:?}" "${SSL_CERT_FILE:?}"

api() {
    curl --silent --show-error --fail-with-body --cacert "$SSL_CERT_FILE" \
        --header "authorization: Bearer $OPENAI_API_KEY" --header "content-type: application/json" "$@"
}

model=${MODEL:-$(api "$OPENAI_BASE_URL/models" | grep -o '"id": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)}
ask='{"model": "'$model'", "max_tokens": 24, "messages": [{"role": "user", "content": "What is a valve?"}]'

echo "An answer, with the headers that name the request and its evidence:"
api --dump-header - "$OPENAI_BASE_URL/chat/completions" --data "$ask}" |
    grep --ignore-case --extended-regexp '^(x-request-id|x-hanse-receipt)|^\{'

echo "The same as a stream:"
api --no-buffer "$OPENAI_BASE_URL/chat/completions" --data "$ask, \"stream\": true}"
