
Žroot"_tf_keras_sequential*h{"name": "dense", "class_name": "Dense", "config": {"name": "dense", "units": 1}, "shared_object_id": 1}2
Öroot"_tf_keras_sequential*¯{"name": "lambda", "class_name": "Lambda", "config": {"name": "lambda", "function": {"class_name": "__tuple__", "items": ["4wEAAAA=", null, null]}, "function_type": "lambda"}}2