//! The names customers have. All ASCII, so that "case-insensitive" means the same in every database.

/// Given names.
pub(crate) const FIRST: [&str; 48] = [
    "Ada", "Alan", "Alice", "Amir", "Anna", "Ben", "Carla", "Chen", "Clara", "Daniel", "Dina", "Elena",
    "Emil", "Emma", "Farid", "Fatima", "Felix", "Grace", "Hana", "Henry", "Ines", "Ivan", "Jack", "Jane",
    "John", "Jonas", "Julia", "Karim", "Kofi", "Lara", "Leo", "Lina", "Louis", "Maria", "Mei", "Mia", "Noah",
    "Nora", "Oscar", "Paula", "Priya", "Rosa", "Sam", "Sofia", "Tariq", "Tom", "Yuki", "Zoe",
];

/// Family names, other than [`SMITH`]. One has an apostrophe, which every writer has to get right.
pub(crate) const LAST: [&str; 47] = [
    "Adams", "Allen", "Baker", "Bauer", "Brown", "Carter", "Clark", "Cohen", "Costa", "Cruz", "Davis",
    "Diaz", "Evans", "Fischer", "Garcia", "Green", "Hall", "Haddad", "Hill", "Ito", "Jansen", "Jones",
    "Khan", "Kim", "Kowalski", "Lee", "Lopez", "Martin", "Mensah", "Meyer", "Miller", "Moore", "Nguyen",
    "Novak", "O'Brien", "Okafor", "Patel", "Petrov", "Rossi", "Sato", "Schmidt", "Silva", "Tanaka", "Taylor",
    "Wang", "Weber", "Young",
];

/// The name that samples and tests search for. Every 40th customer has it.
pub(crate) const SMITH: &str = "Smith";
