-- wrk script: one notification to one killed user per request, each with a message id of its own.
-- Environment: BENCH_KEY, BENCH_APP, BENCH_USERS.
local key, app = os.getenv("BENCH_KEY"), os.getenv("BENCH_APP")
local users = tonumber(os.getenv("BENCH_USERS"))
local run = tostring(os.time())
local threads = 0

function setup(thread)
   threads = threads + 1
   thread:set("number", threads)
end

function init(args)
   math.randomseed(number * 7919 + os.time())
   sent = 0
   path = "/v1/apps/" .. app .. "/notifications"
   headers = { ["Authorization"] = "Bearer " .. key, ["Content-Type"] = "application/json" }
end

function request()
   sent = sent + 1
   local body = string.format(
      '{"message_id":"%s-%d-%d","to":[{"user_id":"user-%d"}],"title":"Alice","body":"shall we have dinner together tonight?","conversation_id":"c-%d","data":{"cid":"c-%d"}}',
      run, number, sent, math.random(users), math.random(1000), math.random(1000))
   return wrk.format("POST", path, headers, body)
end

function done(summary, latency, requests)
   local seconds = summary.duration / 1e6
   local bad = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
   io.write(string.format("BENCH accepted=%d errors=%d seconds=%.2f rate=%.0f p50_ms=%.2f p99_ms=%.2f\n",
      summary.requests - summary.errors.status, bad, seconds, summary.requests / seconds,
      latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
