-- The health of every kind of perdure.dev, from its conditions. The files of all kinds are the same.
local status = obj.status or {}

if status.conditions == nil then
  return { status = "Progressing", message = "the operator has not looked at it yet" }
end

local generation = obj.metadata and obj.metadata.generation
if generation ~= nil and (status.observedGeneration or 0) < generation then
  return { status = "Progressing", message = "the operator has not seen the last change yet" }
end

local holds, says = {}, {}
for _, condition in ipairs(status.conditions) do
  holds[condition.type] = condition.status == "True"
  says[condition.type] = condition.message
end

if status.phase == "Canceled" and obj.spec and obj.spec.cancel == true then
  return { status = "Healthy", message = "it was canceled, as its spec says" }
end
for _, trouble in ipairs({ "Failed", "Stalled" }) do
  if holds[trouble] then
    return { status = "Degraded", message = says[trouble] }
  end
end
if status.phase == "Suspended" or status.phase == "Paused" then
  return { status = "Suspended", message = says["Ready"] or "it is suspended" }
end
if holds["Complete"] or holds["Ready"] then
  return { status = "Healthy", message = says["Complete"] or says["Ready"] }
end
return { status = "Progressing", message = says["Reconciling"] or says["Ready"] or "it goes on" }
