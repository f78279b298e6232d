-- The health of a LongTask or a LongTaskSet for Argo CD; docs/compatibility.md says how it is installed. The string library is not
-- there for all versions of Argo CD, so it is not used.
local status = obj.status or {}

local function condition(name)
  for _, found in ipairs(status.conditions or {}) do
    if found.type == name and found.status == "True" then
      return found
    end
  end
end

local function health(code, message)
  return { status = code, message = message }
end

-- What the status says is of before the last change.
if status.observedGeneration == nil or status.observedGeneration < obj.metadata.generation then
  return health("Progressing", "waiting for the operator")
end

local failed, overdue = condition("Failed"), condition("AttemptOverdue")
if failed then
  return health("Degraded", failed.reason .. ": " .. failed.message)
end
if overdue then
  return health("Degraded", overdue.message)
end
if status.phase == "Succeeded" then
  return health("Healthy", "done")
end
if status.phase == "Cancelled" then
  return health("Healthy", "cancelled, as spec.cancel says")
end

local suspended = condition("Suspended")
if suspended then
  return health("Suspended", suspended.message)
end
local trouble = condition("Blocked") or condition("WriteRefused")
if trouble then
  return health("Progressing", trouble.reason .. ": " .. trouble.message)
end
local message = status.phase or "Pending"
if obj.kind ~= "LongTaskSet" then
  message = message .. ", segment " .. (status.segment or 1)
end
if status.progress and status.progress.summary then
  message = message .. ", " .. status.progress.summary
end
return health("Progressing", message)
