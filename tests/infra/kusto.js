// Reads queries, a JSON list, and writes for each what the Kusto language service finds wrong. Its folder is the argument.
const { readFileSync } = require("fs");
const { runInThisContext } = require("vm");

for (const name of ["bridge.min.js", "Kusto.Language.Bridge.min.js"]) {
  runInThisContext(readFileSync(`${process.argv[2]}/${name}`, "utf8"), name);
}
const { GlobalState, KustoCode, Symbols } = Kusto.Language;
// The columns that the queries use: https://learn.microsoft.com/azure/azure-monitor/reference/tables/apptraces and apprequests.
const columns = {
  AppTraces: "TimeGenerated: datetime, Message: string, SeverityLevel: int, _ResourceId: string",
  AppRequests:
    "TimeGenerated: datetime, Name: string, OperationName: string, Success: bool, DurationMs: real, _ResourceId: string",
};
const tables = Object.entries(columns).map(([name, of]) => Symbols.TableSymbol.From(`(${of})`).WithName(name));
const state = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor1("workspace", tables));

function faults(query) {
  const found = KustoCode.ParseAndAnalyze(query, state).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, index) => found.getItem(index).Message);
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(faults)));
