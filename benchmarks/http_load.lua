-- For wrk: look-ups of random customers at a steady pace, and the percentiles as one line of JSON.
-- Arguments: key, customers, milliseconds between two requests of one connection, the body with %d in it, 1 for whole profiles.

function init(args)
  math.randomseed(tonumber(args[6] or '5'))
  customers, pause, shape = tonumber(args[2]), tonumber(args[3]), args[4]
  wrk.method = 'POST'
  wrk.headers['Content-Type'] = 'application/json'
  wrk.headers['Authorization'] = 'Bearer ' .. args[1]
end

function request()
  return wrk.format(nil, nil, nil, string.format(shape, math.random(0, customers - 1)))
end

-- Connections begin apart, and none waits for the others.
function delay()
  return pause > 0 and math.random(0, 2 * pause) or 0
end

function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
    + summary.errors.timeout
  io.write(string.format(
    '{"requests":%d,"seconds":%.3f,"failed":%d,"bytes":%d,"p50_ms":%.3f,"p99_ms":%.3f,"p999_ms":%.3f,"max_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, failed, summary.bytes, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency:percentile(99.9) / 1e3, latency.max / 1e3))
end
