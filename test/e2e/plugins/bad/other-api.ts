// Made for another contract.
export default { name: "other-api", api: 2, watches: [], tables: [], setup() {} };
